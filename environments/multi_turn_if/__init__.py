"""Multi-turn instruction following."""
