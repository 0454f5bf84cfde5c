"""The names that trainers import from NeMo Gym, played by Palaestra. Not NVIDIA's package: install one or the other."""

__version__ = "0.7.0+palaestra"
