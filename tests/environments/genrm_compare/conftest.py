"""The judge on loopback of the judge's own tests."""

from pathlib import Path

from gym_core.loading import load_file

bench = load_file(Path(__file__).parents[2] / "gym_core" / "judge" / "conftest.py").bench
