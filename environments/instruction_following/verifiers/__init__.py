"""The verifiers, by published id: importing this package fills `REGISTRY`."""

from __future__ import annotations

from environments.instruction_following.verifiers import (
    copying,
    counting,
    keywords,
    language,
    layout,
    length,
    marks,
    places,
    position,
    wrapping,
)
from environments.instruction_following.verifiers.base import REGISTRY, Constraint, Draw, Kwargs

__all__ = [
    "REGISTRY",
    "Constraint",
    "Draw",
    "Kwargs",
    "copying",
    "counting",
    "keywords",
    "language",
    "layout",
    "length",
    "marks",
    "places",
    "position",
    "wrapping",
]
