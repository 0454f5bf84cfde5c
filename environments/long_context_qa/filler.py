"""Sentences without a fact: no number, no name, nothing that any question asks for."""

from __future__ import annotations

import random

from environments.long_context_qa.words import ENDS, OBJECTS, STARTS, SUBJECTS, VERBS

_OPENINGS = tuple(f"{start}, {subject}" for start in STARTS for subject in SUBJECTS) + tuple(
    subject.capitalize() for subject in SUBJECTS for _ in range(9)
)
_CLOSINGS = tuple(f"{verb} {thing}" for verb in VERBS for thing in OBJECTS)
_ENDS = tuple(f"{end}." for end in ENDS)


def sentences(rng: random.Random, count: int) -> list[str]:
    """So many sentences; drawn a column at a time, about a microsecond each."""
    columns = (rng.choices(pool, k=count) for pool in (_OPENINGS, _CLOSINGS, _ENDS))
    return [" ".join(parts) for parts in zip(*columns, strict=True)]
