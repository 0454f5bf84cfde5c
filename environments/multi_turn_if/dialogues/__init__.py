"""Scripted dialogues, by what their last question asks for."""
