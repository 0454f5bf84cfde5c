"""The levels: how long, how many documents, how many facts to join, how much is easily mistaken for them.

Level 0 is a line of names and numbers. The others have a budget of tokens that a prompt never exceeds and nearly fills.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Level:
    """`width` is about how many facts are joined; `near` distractors stand beside each needed fact, `far` anywhere.

    `early` is the chance that the question also stands before the documents; `needles` are looked for in one text.
    """

    tokens: int
    documents: tuple[int, int] = (1, 1)
    width: tuple[int, int] = (1, 1)
    near: int = 0
    far: int = 0
    early: float = 0.0
    needles: tuple[int, int] = (1, 2)


LEVELS: tuple[Level, ...] = (
    Level(64),
    Level(1_024, (5, 6), (5, 5), 0, 2, 0.0, (1, 3)),
    Level(4_096, (6, 9), (5, 6), 1, 24, 0.2, (2, 4)),
    Level(8_192, (8, 14), (6, 8), 1, 60, 0.2, (3, 5)),
    Level(16_384, (10, 20), (6, 9), 2, 130, 0.2, (4, 6)),
    Level(32_768, (15, 30), (7, 12), 2, 280, 0.2, (4, 8)),
    Level(65_536, (20, 40), (8, 13), 3, 560, 0.2, (5, 9)),
    Level(131_072, (25, 40), (8, 14), 3, 1_100, 0.2, (6, 10)),
    Level(262_144, (30, 40), (9, 14), 3, 2_200, 0.2, (6, 12)),
)

DEFAULT_TOKENS = 32_768
"""The longest prompt unless the configuration allows more."""


def open_levels(max_tokens: int) -> range:
    """The levels whose prompts may have so many tokens, five at least: the contract of every environment."""
    return range(max(5, sum(level.tokens <= max_tokens for level in LEVELS)))
