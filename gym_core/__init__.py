"""The words every part of Palaestra shares, and what an environment author writes against."""
