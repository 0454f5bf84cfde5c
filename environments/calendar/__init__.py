"""Scheduling over a dialogue, judged by the state of the calendar."""
