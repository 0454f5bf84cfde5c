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
from environments.instruction_following.verifiers.benchmark import (
    answers,
    composed,
    counts,
    edges,
    letters,
    lists,
    nesting,
    ratios,
    repeats,
    sentences,
    shape,
    signs,
    tables,
)

__all__ = [
    "REGISTRY",
    "Constraint",
    "Draw",
    "Kwargs",
    "answers",
    "composed",
    "copying",
    "counting",
    "counts",
    "edges",
    "keywords",
    "language",
    "layout",
    "length",
    "letters",
    "lists",
    "marks",
    "nesting",
    "places",
    "position",
    "ratios",
    "repeats",
    "sentences",
    "shape",
    "signs",
    "tables",
    "wrapping",
]
