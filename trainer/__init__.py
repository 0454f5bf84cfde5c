"""Synchronous GRPO and what surrounds it: warm start, curriculum, router control, publishing, resume."""
