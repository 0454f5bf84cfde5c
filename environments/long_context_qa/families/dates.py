"""Dates: how long a programme runs in all, and the day on which a contract ends after its extensions."""

from __future__ import annotations

from datetime import date, timedelta

from environments.long_context_qa import answers
from environments.long_context_qa.facts import Fact
from environments.long_context_qa.problem import Draw, Problem, listed

_EXTENSIONS = ("first extension", "second extension", "third extension")


def span(draw: Draw) -> Problem:
    """Days from the earliest start to the latest completion."""
    entities = draw.projects(max(3, draw.width // 2))
    opening = date(draw.rng.randint(2027, 2033), 1, 1)
    starts = [opening + timedelta(days=days) for days in draw.rng.sample(range(400), len(entities))]
    ends = [start + timedelta(days=draw.rng.randint(90, 900)) for start in starts]
    needed = [Fact(entity, "start date", start) for entity, start in zip(entities, starts, strict=True)]
    needed += [Fact(entity, "completion date", end) for entity, end in zip(entities, ends, strict=True)]
    return Problem(
        question=(
            f"Take the start dates and completion dates of {listed(entities)}. How many days lie between the earliest "
            "start date and the latest completion date?"
        ),
        answer=answers.number((max(ends) - min(starts)).days, "days"),
        query={"op": "span", "entities": entities},
        needed=needed,
    )


def deadline(draw: Draw) -> Problem:
    """Signing date, initial term and three extensions, in days: the first day after all of them."""
    contract = draw.names.contract()
    signed = date(draw.rng.randint(2027, 2033), 1, 1) + timedelta(days=draw.rng.randrange(365))
    days = [draw.rng.randint(120, 720), *(draw.rng.randint(10, 119) for _ in _EXTENSIONS)]
    terms = [
        Fact(contract, term, count, "days") for term, count in zip(("initial term", *_EXTENSIONS), days, strict=True)
    ]
    return Problem(
        question=(
            f"{contract} ends when its initial term and its three extensions have run, one after the other, counted in "
            "days from its signing date. On which date does it end? (Signed on 1 May with 10 days in all, it would end "
            "on 11 May.)"
        ),
        answer=answers.day(signed + timedelta(days=sum(days))),
        query={"op": "deadline", "entity": contract, "terms": ["initial term", *_EXTENSIONS]},
        needed=[Fact(contract, "signing date", signed), *terms],
    )
