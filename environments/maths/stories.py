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


def story(rng: random.Random) -> tuple[str, int]:
    """A prompt of at most fourteen words, and its answer in 0..6."""
    name, things = rng.choice(NAMES), rng.choice(OBJECTS)
    a, b = rng.randint(0, LARGEST), rng.randint(0, LARGEST)
    if rng.random() < 0.5:
        return rng.choice(ADDING).format(name=name, things=things, a=a, b=b), a + b
    a, b = max(a, b), min(a, b)
    return rng.choice(TAKING).format(name=name, things=things, a=a, b=b), a - b
