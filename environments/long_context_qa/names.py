"""Names that occur once in a corpus, and names that are easily taken for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from environments.long_context_qa.words import (
    CITIES,
    COMPANIES,
    FAMILY,
    FIRSTS,
    GIVEN,
    SECONDS,
    TRADES,
)

SUFFIXES = ("II", "North", "South", "East", "West")
TYPES = ("Project", "Plant", "Item", "Contract")
"""Words before the names of things; people and cities have none."""

_KINDS = frozenset(kind.casefold() for kind in TYPES)

TRIES = 500


class Names:
    """Draws names without repetition."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._used: set[str] = set()

    def project(self) -> str:
        return self._thing("Project")

    def plant(self) -> str:
        return self._thing("Plant")

    def item(self) -> str:
        return self._thing("Item")

    def contract(self) -> str:
        return self._new(lambda: f"Contract {self._rng.choice('BDGKMRT')}-{self._rng.randint(1000, 9899)}")

    def person(self) -> str:
        return self._new(lambda: f"{self._rng.choice(GIVEN)} {self._rng.choice(FAMILY)}")

    def city(self) -> str:
        return self._new(lambda: self._rng.choice(CITIES))

    def company(self) -> str:
        return f"{self._rng.choice(COMPANIES)} {self._rng.choice(TRADES)}"

    def near(self, name: str) -> str:
        """A new name that differs from this one in a word, a suffix or two digits."""
        return self._new(lambda: self._nearly(name))

    def _thing(self, kind: str) -> str:
        return self._new(lambda: f"{kind} {self._rng.choice(FIRSTS)} {self._rng.choice(SECONDS)}")

    def _new(self, draw: Callable[[], str]) -> str:
        for _ in range(TRIES):
            name = draw()
            if name not in self._used:
                self._used.add(name)
                return name
        raise AssertionError(f"the last of {TRIES} draws, {name!r}, is as used as the others")

    def _nearly(self, name: str) -> str:
        rng = self._rng
        kind, _, rest = name.partition(" ")
        if kind == "Contract":
            place = rng.randrange(2, len(rest))
            return f"Contract {rest[:place]}{rng.randint(0, 9)}{rest[place + 1 :]}"
        if kind not in TYPES:
            return f"{kind} {_other(rng, FAMILY, rest)}" if rng.random() < 0.5 else f"{_other(rng, GIVEN, kind)} {rest}"
        first, _, second = rest.partition(" ")
        form = rng.random()
        if form < 0.4:
            return f"{kind} {first} {second.split()[0]} {rng.choice(SUFFIXES)}"
        if form < 0.7:
            return f"{kind} {first} {_other(rng, SECONDS, second)}"
        return f"{kind} {_other(rng, FIRSTS, first)} {second}"


def bare(name: str) -> str:
    """The name without the word for what it is: `Amber Falcon` of `Project Amber Falcon`."""
    kind, _, rest = name.partition(" ")
    return rest if rest and kind.casefold() in _KINDS else name


def _other(rng: random.Random, words: Sequence[str], word: str) -> str:
    """Another word, of the same first letter where there is one."""
    alike = [other for other in words if other[0] == word[0] and other != word]
    return rng.choice(alike or [other for other in words if other != word])
