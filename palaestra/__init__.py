"""Where the parts become a program: the command line and the composition of services."""
