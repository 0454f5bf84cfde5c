"""Documents that disagree: the later one counts, or the one with more authority. Only then do values occur twice."""

from __future__ import annotations

from environments.long_context_qa import answers
from environments.long_context_qa.facts import NUMBERS, Fact
from environments.long_context_qa.problem import AUTHORITY, LATEST, Draw, Problem, listed


def by_date(draw: Draw) -> Problem:
    return _revised(draw, LATEST)


def by_authority(draw: Draw) -> Problem:
    return _revised(draw, AUTHORITY)


def _revised(draw: Draw, rule: str) -> Problem:
    """A sum in which about half of the terms are stated twice, one of them three times."""
    attribute = draw.rng.choice(NUMBERS)
    entities = draw.projects(draw.width)
    needed = draw.facts(entities, attribute)
    revised = draw.rng.sample(needed, max(2, draw.width // 2))
    stale = [(_other(draw, fact, attribute.low, attribute.high), fact) for fact in [*revised, revised[0]]]
    values = [fact.value for fact in needed if isinstance(fact.value, int)]
    return Problem(
        question=f"What do the {attribute.name}s of {listed(entities)} add up to?",
        answer=answers.number(sum(values), attribute.unit),
        query={"op": "total", "attribute": attribute.name, "entities": entities, "rule": rule},
        needed=needed,
        rule=rule,
        stale=stale,
    )


def _other(draw: Draw, fact: Fact, low: int, high: int) -> Fact:
    """The same statement with another number, off by a tenth or so."""
    assert isinstance(fact.value, int)
    value = fact.value
    while value == fact.value:
        value = min(high, max(low, fact.value + draw.rng.randint(-low, low)))
    return Fact(fact.entity, fact.attribute, value, fact.unit)
