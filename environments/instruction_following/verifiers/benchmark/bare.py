"""How the public checkers of the benchmark take punctuation off: all of ASCII's, and nothing else."""

from __future__ import annotations

import string

_DELETED = str.maketrans("", "", string.punctuation)
_AROUND = string.punctuation + " "


def without_punctuation(text: str) -> str:
    return text.translate(_DELETED)


def bare(text: str) -> str:
    """Without punctuation and blanks at its ends."""
    return text.strip(_AROUND)
