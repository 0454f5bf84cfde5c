"""Choices among things: how many exceed a bound, which ranks where, all in order, all that share two properties."""

from __future__ import annotations

from environments.long_context_qa import answers
from environments.long_context_qa.facts import NUMBERS, Fact
from environments.long_context_qa.problem import Draw, Problem, listed

_RANKS = ("highest", "second highest", "third highest", "third lowest", "second lowest", "lowest")


def count_over(draw: Draw) -> Problem:
    """Names and number of those above a bound: the number alone would be guessed too easily."""
    attribute = draw.rng.choice(NUMBERS)
    entities = draw.projects(draw.width)
    needed = draw.facts(entities, attribute)
    values = sorted(fact.value for fact in needed if isinstance(fact.value, int))
    place = draw.rng.randint(1, len(values) - 2)
    bound = (values[place] + values[place + 1]) // 2
    over = [fact.entity for fact in needed if isinstance(fact.value, int) and fact.value > bound]
    return Problem(
        question=f"Which of {listed(entities)} have {_a(attribute.name)} above {bound:,} {attribute.unit}?",
        answer=answers.several(over, entities),
        query={"op": "above", "attribute": attribute.name, "entities": entities, "bound": bound},
        needed=needed,
    )


def ranked(draw: Draw) -> Problem:
    attribute = draw.rng.choice(NUMBERS)
    entities = draw.projects(max(6, draw.width))
    needed = draw.facts(entities, attribute)
    place = draw.rng.randrange(len(_RANKS))
    down = sorted(needed, key=lambda fact: fact.value, reverse=True)
    index = place if place < 3 else place - len(_RANKS)
    return Problem(
        question=f"Of {listed(entities)}, which has the {_RANKS[place]} {attribute.name}?",
        answer=answers.name(down[index].entity, entities),
        query={"op": "ranked", "attribute": attribute.name, "entities": entities, "index": index},
        needed=needed,
    )


def in_order(draw: Draw) -> Problem:
    attribute = draw.rng.choice(NUMBERS)
    entities = draw.projects(min(8, draw.width))
    needed = draw.facts(entities, attribute)
    up = [fact.entity for fact in sorted(needed, key=lambda fact: fact.value)]
    return Problem(
        question=f"Put {listed(entities)} in order of {attribute.name}, the lowest first.",
        answer=answers.several(up, entities, ordered=True),
        query={"op": "in_order", "attribute": attribute.name, "entities": entities},
        needed=needed,
    )


def both(draw: Draw) -> Problem:
    """Those of one lead at one site; others share only the lead, or only the site."""
    lead, site = draw.names.person(), draw.names.city()
    elsewhere, stranger = draw.names.city(), draw.names.near(lead)
    members = draw.projects(max(3, draw.width // 2))
    led, sited = draw.projects(2), draw.projects(2)
    needed = [Fact(entity, "lead", lead) for entity in members] + [Fact(entity, "site", site) for entity in members]
    beside = [Fact(entity, "lead", lead) for entity in led] + [Fact(entity, "site", elsewhere) for entity in led]
    beside += [Fact(entity, "lead", stranger) for entity in sited] + [Fact(entity, "site", site) for entity in sited]
    return Problem(
        question=f"Which projects have {lead} as their lead and {site} as their site?",
        answer=answers.several(members, [*led, *sited]),
        query={"op": "both", "lead": lead, "site": site},
        needed=needed,
        beside=beside,
        reserved=frozenset((lead, site)),
    )


def _a(name: str) -> str:
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
