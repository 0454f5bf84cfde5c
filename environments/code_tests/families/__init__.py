"""The families of problems, by name."""

from __future__ import annotations

from environments.code_tests.families import (
    graphs,
    numbers_and_words,
    planning,
    queries,
    several_answers,
    warmups,
)
from environments.code_tests.families.base import Family

FAMILIES: dict[str, Family] = {
    family.name: family
    for module in (warmups, queries, planning, graphs, numbers_and_words, several_answers)
    for family in module.ALL
}


def at_level(level: int) -> list[Family]:
    """The families of this level, in a fixed order."""
    return [family for family in FAMILIES.values() if level in family.levels]
