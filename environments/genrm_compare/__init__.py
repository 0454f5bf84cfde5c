"""Responses of a group compared with each other."""
