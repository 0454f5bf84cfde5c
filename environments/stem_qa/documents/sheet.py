"""What a document is about: rows (samples, runs) with measured columns, each row in a group with facts of its own.

    theme ─▶ names and numbers drawn at random ─▶ sheet ─▶ written as one of six kinds of document (`kinds`)

Names say nothing about numbers and all rows of a column are drawn alike, so a question about one row could be a
question about any other: whoever has not read the document is left with chance.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from environments.stem_qa.documents.themes import CONSONANTS, THEMES, VOWELS, Column, Theme


@dataclass(slots=True, frozen=True)
class Sheet:
    """`values[row, column]` and `traits[group, column]` are whole numbers in the last decimal of their column."""

    theme: Theme
    rows: tuple[str, ...]
    columns: tuple[Column, ...]
    values: dict[tuple[str, str], int]
    groups: tuple[str, ...]
    member: dict[str, str]
    traits: dict[tuple[str, str], int]
    trait_columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        return next(column for column in (*self.columns, *self.trait_columns) if column.name == name)

    def shown(self, row: str, column: Column) -> str:
        """A value as the document writes it, with its unit."""
        table = self.values if (row, column.name) in self.values else self.traits
        return column.written(table[row, column.name])

    def members(self, group: str) -> list[str]:
        return [row for row in self.rows if self.member[row] == group]


def draw_sheet(rng: random.Random, num_rows: int, num_columns: int, num_groups: int) -> Sheet:
    """A sheet of this size; `num_groups` may be 0."""
    theme = rng.choice(THEMES)
    rows = tuple(_row_names(rng, theme, num_rows))
    columns = tuple(rng.sample(theme.columns, min(num_columns, len(theme.columns))))
    groups = tuple(_words(rng, num_groups))
    values = {}
    for column in columns:
        values.update({(row, column.name): column.draw(rng) for row in rows})
    traits = {}
    for column in theme.traits:
        numbers = rng.sample(range(column.low, column.high + 1), num_groups)
        traits.update({(group, column.name): number for group, number in zip(groups, numbers, strict=True)})
    member = dict(zip(rows, _spread(rng, groups, num_rows), strict=True)) if groups else {}
    return Sheet(theme, rows, columns, values, groups, member, traits, theme.traits if groups else ())


def _row_names(rng: random.Random, theme: Theme, count: int) -> list[str]:
    """`K-14`, `R-207`: a letter and a number, unlike each other also without the letter."""
    numbers = rng.sample(range(11, 990), count)
    return [f"{rng.choice(theme.letters)}-{number}" for number in numbers]


def _words(rng: random.Random, count: int) -> list[str]:
    """Invented names of two or three syllables, no two with the same beginning."""
    made: dict[str, str] = {}
    while len(made) < count:
        syllables = [rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(rng.randint(2, 3))]
        word = ("".join(syllables) + rng.choice(("n", "r", "s", "l", ""))).capitalize()
        made.setdefault(word[:3], word)
    return list(made.values())


def _spread(rng: random.Random, groups: tuple[str, ...], count: int) -> list[str]:
    """A group for each row: each group at least once while there are rows, the rest at random."""
    spread = list(groups[:count]) + [rng.choice(groups) for _ in range(count - len(groups))]
    rng.shuffle(spread)
    return spread
