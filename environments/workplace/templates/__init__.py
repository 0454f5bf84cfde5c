"""Task templates by domain. A template is a function that reads the world, writes down calls, and returns the wish."""
