"""A question before it has documents: what is asked, what must be said for it, what is easily mistaken for that."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from environments.long_context_qa.facts import Attribute, Fact, Value
from environments.long_context_qa.names import Names

LATEST = "latest"
AUTHORITY = "authority"
RULES = {
    "": "",
    LATEST: " Where documents disagree, the one with the latest date counts.",
    AUTHORITY: (
        " Where documents disagree, a contract counts more than minutes, minutes more than a report, a report more "
        "than a memo, a memo more than a letter, a letter more than a log."
    ),
}
"""How a question says which of two statements counts."""


@dataclass(slots=True, kw_only=True)
class Problem:
    """A question with its answer.

    `needed` facts are said once each, in different documents as far as there are enough. `stale` pairs a statement
    that does not count with the one that does. `beside` facts belong to the question but not to its answer. No
    distractor has a value of `reserved`. `query` is the question for a machine (tests answer it from the documents).
    """

    question: str
    answer: dict[str, Any]
    query: dict[str, Any]
    needed: list[Fact]
    rule: str = ""
    stale: list[tuple[Fact, Fact]] = field(default_factory=list)
    beside: list[Fact] = field(default_factory=list)
    reserved: frozenset[Value] = frozenset()


@dataclass(slots=True, frozen=True)
class Draw:
    """What a family draws from: the generator, names, and how many things it should join."""

    rng: random.Random
    names: Names
    width: int

    def amount(self, attribute: Attribute) -> int:
        return self.rng.randrange(attribute.low, attribute.high + 1, attribute.step)

    def amounts(self, attribute: Attribute, count: int) -> list[int]:
        """Different values."""
        found: dict[int, None] = {}
        while len(found) < count:
            found[self.amount(attribute)] = None
        return list(found)

    def facts(self, entities: list[str], attribute: Attribute) -> list[Fact]:
        """A different value for each entity."""
        values = self.amounts(attribute, len(entities))
        return [
            Fact(entity, attribute.name, value, attribute.unit) for entity, value in zip(entities, values, strict=True)
        ]

    def projects(self, count: int) -> list[str]:
        return [self.names.project() for _ in range(count)]


def listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
