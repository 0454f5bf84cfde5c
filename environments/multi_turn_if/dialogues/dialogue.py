"""A scripted dialogue: what was said, what the answer to its last turn must satisfy, and an answer that does."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from environments.multi_turn_if.items import Item

USER, ASSISTANT = "user", "assistant"


@dataclass(slots=True)
class Dialogue:
    """`turns` are (role, text), the last one the user's; `best` satisfies every item."""

    turns: list[tuple[str, str]] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    best: str = ""
    system: str = ""

    def user(self, text: str, reply: str = "") -> None:
        """The user says something, and the assistant replies where there is a reply."""
        self.turns.append((USER, text))
        if reply:
            self.turns.append((ASSISTANT, reply))


Family = Callable[[random.Random, int], Dialogue]

ASIDES = (
    ("What colour is grass?", "Green"),
    ("Which sea lies between Europe and Africa?", "Mediterranean"),
    ("What do bees make?", "Honey"),
    ("Which animal barks?", "Dog"),
    ("What is frozen water called?", "Ice"),
    ("Which metal is liquid when warm and used in old thermometers?", "Mercury"),
    ("What do we call a baby cat?", "Kitten"),
    ("Which planet has rings?", "Saturn"),
    ("What do cows give?", "Milk"),
    ("Which season follows winter?", "Spring"),
)
"""Small talk with answers of one word, to put distance between what matters."""


def asides(rng: random.Random, count: int) -> list[tuple[str, str]]:
    """So many questions and answers."""
    return rng.sample(ASIDES, max(0, min(count, len(ASIDES))))
