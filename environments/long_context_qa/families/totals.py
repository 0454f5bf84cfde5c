"""Sums: of named things, of a group that must be found first, of months, of prices times quantities; differences."""

from __future__ import annotations

from environments.long_context_qa import answers
from environments.long_context_qa.facts import MONTHS, NUMBERS, Fact
from environments.long_context_qa.problem import Draw, Problem, listed


def total(draw: Draw) -> Problem:
    attribute = draw.rng.choice(NUMBERS)
    entities = draw.projects(draw.width)
    needed = draw.facts(entities, attribute)
    return Problem(
        question=f"What do the {attribute.name}s of {listed(entities)} add up to?",
        answer=answers.number(_sum(needed), attribute.unit),
        query={"op": "total", "attribute": attribute.name, "entities": entities},
        needed=needed,
    )


def group_total(draw: Draw) -> Problem:
    """Whoever leads a project is said in one document, its number in another."""
    attribute = draw.rng.choice(NUMBERS)
    lead = draw.names.person()
    other = draw.names.near(lead)
    entities = draw.projects(max(3, draw.width // 2))
    members = [Fact(entity, "lead", lead) for entity in entities]
    numbers = draw.facts(entities, attribute)
    strangers = draw.projects(len(entities))
    beside = [Fact(entity, "lead", other) for entity in strangers] + draw.facts(strangers, attribute)
    return Problem(
        question=f"Add up the {attribute.name}s of all projects whose lead is {lead}. What is the total?",
        answer=answers.number(_sum(numbers), attribute.unit),
        query={"op": "group_total", "attribute": attribute.name, "by": "lead", "of": lead},
        needed=members + numbers,
        beside=beside,
        reserved=frozenset((lead,)),
    )


def difference(draw: Draw) -> Problem:
    attribute = draw.rng.choice(NUMBERS)
    count = max(3, draw.width // 2)
    entities = draw.projects(2 * count)
    needed = draw.facts(entities, attribute)
    first, second = needed[:count], needed[count:]
    if _sum(first) < _sum(second):
        first, second = second, first
    ours, theirs = [fact.entity for fact in first], [fact.entity for fact in second]
    return Problem(
        question=(
            f"By how much does the combined {attribute.name} of {listed(ours)} exceed the combined {attribute.name} of "
            f"{listed(theirs)}?"
        ),
        answer=answers.number(_sum(first) - _sum(second), attribute.unit),
        query={"op": "difference", "attribute": attribute.name, "entities": ours, "others": theirs},
        needed=needed,
    )


def months(draw: Draw) -> Problem:
    """Monthly outputs of one plant; other plants and another year stand beside it."""
    count = min(12, draw.width)
    first = draw.rng.randint(0, 12 - count)
    year = draw.rng.randint(2027, 2034)
    plant = draw.names.plant()
    wanted = MONTHS[first : first + count]
    needed = [Fact(plant, f"output in {month} {year}", draw.rng.randint(400, 9900), "units") for month in wanted]
    twin = draw.names.near(plant)
    beside = [Fact(twin, fact.attribute, draw.rng.randint(400, 9900), "units") for fact in needed]
    beside += [
        Fact(plant, f"output in {month} {year + shift}", draw.rng.randint(400, 9900), "units")
        for month in wanted
        for shift in (-1, 1)
        if draw.rng.random() < 0.5
    ]
    return Problem(
        question=f"What was the output of {plant} from {wanted[0]} {year} to {wanted[-1]} {year} in all?",
        answer=answers.number(_sum(needed), "units"),
        query={"op": "months", "entity": plant, "attributes": [fact.attribute for fact in needed]},
        needed=needed,
        beside=beside,
    )


def order_value(draw: Draw) -> Problem:
    """Unit prices and ordered quantities, each in a document of its own."""
    items = [draw.names.item() for _ in range(max(3, draw.width // 2))]
    pairs = [(draw.rng.randint(2, 95), draw.rng.randint(10, 480)) for _ in items]
    prices = [Fact(item, "unit price", price, "EUR") for item, (price, _) in zip(items, pairs, strict=True)]
    counts = [Fact(item, "ordered quantity", count, "pieces") for item, (_, count) in zip(items, pairs, strict=True)]
    return Problem(
        question=f"What do the ordered quantities of {listed(items)} cost in all, at their unit prices?",
        answer=answers.number(sum(price * count for price, count in pairs), "EUR"),
        query={"op": "order_value", "entities": items},
        needed=prices + counts,
    )


def _sum(facts: list[Fact]) -> int:
    return sum(fact.value for fact in facts if isinstance(fact.value, int))
