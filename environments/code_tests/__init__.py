"""Programming problems: a program that must pass every test in a sandbox."""
