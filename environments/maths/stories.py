"""Level 0: one small sum or difference told in a few words, thousands of ways over 26 facts."""

from __future__ import annotations

import random

# fmt: off
NAMES = (
    "Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jin", "Kai", "Lea",
    "Max", "Nia", "Omar", "Pia", "Quin", "Rosa", "Sam", "Tia", "Uma", "Vic", "Wes", "Zoe",
)
OBJECTS = (
    "pens", "cups", "books", "coins", "eggs", "keys", "hats", "nuts",
    "maps", "toys", "cards", "shells", "beads", "kites", "plums", "rings",
)
# fmt: on

ADDING = (
    "{name} has {a} {things} and gets {b} more. How many {things}?",
    "{name} finds {a} {things}, then {b} more. How many {things}?",
    "{name} buys {a} {things} and {b} more. How many now?",
    "{a} {things} and {b} {things} for {name}. How many in all?",
)
TAKING = (
    "{name} has {a} {things} and loses {b}. How many {things}?",
    "{name} has {a} {things} and gives away {b}. How many left?",
    "{name} had {a} {things} and sold {b}. How many {things}?",
    "Of {a} {things}, {name} drops {b}. How many are left?",
)
LARGEST = 3

_NUMBERS = range(LARGEST + 1)
FACTS = [(ADDING, a, b, a + b) for a in _NUMBERS for b in _NUMBERS] + [
    (TAKING, a, b, a - b) for a in _NUMBERS for b in range(a + 1)
]
"""26 facts: how it is told, the two numbers, the result."""


def story(rng: random.Random) -> tuple[str, int]:
    """A prompt of at most eleven words, and its answer: each of 0..6 as often, so that no constant answer pays."""
    wanted = rng.randint(0, 2 * LARGEST)
    templates, a, b, _ = rng.choice([fact for fact in FACTS if fact[3] == wanted])
    return rng.choice(templates).format(name=rng.choice(NAMES), things=rng.choice(OBJECTS), a=a, b=b), wanted
