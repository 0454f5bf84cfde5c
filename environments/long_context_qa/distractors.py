"""What is easily mistaken for what is needed, and what merely looks like it. Nothing here contradicts anything.

near   the same attribute of a thing with almost the same name; almost the same attribute of the same thing
far    any attribute of any other thing
"""

from __future__ import annotations

import random
from collections.abc import Iterable

from environments.long_context_qa.facts import NEAR, NUMBERS, Fact, Value
from environments.long_context_qa.names import Names
from environments.long_context_qa.words import CITIES, FAMILY, FIRSTS, GIVEN, SECONDS

_CROWD = tuple(f"{given} {family}" for given in GIVEN for family in FAMILY)


class Distractors:
    """Facts about other things; each (thing, attribute) is said once in a corpus."""

    def __init__(self, rng: random.Random, names: Names, reserved: Iterable[Value], said: Iterable[Fact]) -> None:
        self._rng = rng
        self._names = names
        self._reserved = frozenset(reserved)
        self._said = {fact.key for fact in said}
        self._named = {fact.entity for fact in said}
        self._twins: dict[tuple[str, int], str] = {}

    def near(self, needed: list[Fact], each: int) -> list[Fact]:
        """`each` of them for every needed fact."""
        found = []
        for fact in needed:
            for number in range(each):
                attribute = NEAR.get(fact.attribute, fact.attribute) if number % 2 else fact.attribute
                entity = fact.entity if attribute != fact.attribute else self._twin(fact.entity, number)
                found.append(self._alike(fact, entity, attribute))
        return self._fresh(found)

    def far(self, count: int) -> list[Fact]:
        """At most `count` of them: numbers of other projects, with a lead or a site now and then."""
        rng = self._rng
        attributes = rng.choices(NUMBERS, k=count)
        firsts, seconds = rng.choices(FIRSTS, k=count), rng.choices(SECONDS, k=count)
        kinds = rng.choices(("number", "lead", "site"), (8, 1, 1), k=count)
        found = []
        for first, second, attribute, kind in zip(firsts, seconds, attributes, kinds, strict=True):
            entity = f"Project {first} {second}"
            if entity in self._named:
                continue
            if kind == "number":
                value = attribute.low + int(rng.random() * (attribute.high - attribute.low))
                found.append(Fact(entity, attribute.name, value, attribute.unit))
            elif (name := rng.choice(_CROWD if kind == "lead" else CITIES)) not in self._reserved:
                found.append(Fact(entity, kind, name))
        return self._fresh(found)

    def _twin(self, entity: str, number: int) -> str:
        """A name near this one; the same for all facts of one thing."""
        twin = self._twins.get((entity, number))
        if twin is None:
            twin = self._twins[entity, number] = self._names.near(entity)
        return twin

    def _alike(self, fact: Fact, entity: str, attribute: str) -> Fact:
        """A fact of the same sort with another value."""
        if isinstance(fact.value, int):
            low = max(1, fact.value // 2)
            value: Value = low + int(self._rng.random() * fact.value)
        elif isinstance(fact.value, str):
            value = self._name_like(fact.value)
        else:
            value = fact.value.replace(month=self._rng.randint(1, 12), day=self._rng.randint(1, 28))
        return Fact(entity, attribute, value, fact.unit)

    def _name_like(self, name: str) -> str:
        pool = CITIES if name in CITIES else _CROWD
        while (found := self._rng.choice(pool)) in self._reserved or found == name:
            continue
        return found

    def _fresh(self, facts: list[Fact]) -> list[Fact]:
        kept = []
        for fact in facts:
            if fact.key not in self._said:
                self._said.add(fact.key)
                kept.append(fact)
        return kept
