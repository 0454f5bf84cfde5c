"""Families of wishes, by topic. A family adds what it needs to the story and returns the goal."""
