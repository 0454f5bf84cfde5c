"""Scripted dialogues of five kinds and 22 families. The level is the distance in turns, the number of rules, facts or
edits, and how many of them are overruled later; at level 0 all is said in one or two messages."""

from __future__ import annotations

import random
from typing import Any

from environments.multi_turn_if.dialogues import coherence, facts, inverse, retention, versions
from environments.multi_turn_if.dialogues.dialogue import Family

LEVELS = range(6)
KINDS: tuple[dict[str, Family], ...] = (
    retention.FAMILIES,
    versions.FAMILIES,
    facts.FAMILIES,
    coherence.FAMILIES,
    inverse.FAMILIES,
)
FAMILIES: dict[str, Family] = {name: family for kind in KINDS for name, family in kind.items()}


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """A dialogue as Responses items, and hidden: the family, the items to check, the best answer."""
    families = rng.choice(KINDS)
    name = rng.choice(list(families))
    found = families[name](rng, level)
    turns = [{"role": role, "content": text} for role, text in found.turns]
    made: dict[str, Any] = {
        "prompt": turns,
        "family": name,
        "items": [item.packed() for item in found.items],
        "best": found.best,
    }
    return {**made, "system": found.system} if found.system else made
