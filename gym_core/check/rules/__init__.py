"""The rules of the quality gate, one module for each thing that they look at."""
