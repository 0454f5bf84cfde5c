"""Several hops: from one thing to a person, from person to person, to a place."""

from __future__ import annotations

from environments.long_context_qa import answers
from environments.long_context_qa.facts import NUMBERS, Fact
from environments.long_context_qa.problem import Draw, Problem, listed

_ROLES = ("manager", "deputy", "mentor", "adviser")


def chain(draw: Draw) -> Problem:
    """`The home office of the mentor of … of the lead of Project X`; each step stands in another document."""
    project = draw.names.project()
    people = [draw.names.person()]
    needed = [Fact(project, "lead", people[0])]
    steps = ["lead"]
    for _ in range(max(3, min(7, draw.width - 2))):
        role = draw.rng.choice([role for role in _ROLES if role != steps[-1]])
        steps.append(role)
        needed.append(Fact(people[-1], role, draw.names.person()))
        people.append(str(needed[-1].value))
    city, others = draw.names.city(), [draw.names.city() for _ in range(len(people))]
    needed.append(Fact(people[-1], "home office", city))
    steps.append("home office")
    beside = [Fact(person, "home office", other) for person, other in zip(people[:-1], others, strict=False)]
    beside += [
        Fact(person, draw.rng.choice([role for role in _ROLES if role != step]), draw.names.person())
        for person, step in zip(people, steps[1:], strict=True)
    ]
    path = " of the ".join(reversed(steps))
    return Problem(
        question=f"What is the {path} of {project}?",
        answer=answers.name(city, others),
        query={"op": "chain", "entity": project, "steps": steps},
        needed=needed,
        beside=beside,
    )


def highest_then(draw: Draw) -> Problem:
    """The site of whichever named project ranks first: all of them have a site, none the same."""
    attribute = draw.rng.choice(NUMBERS)
    entities = draw.projects(max(5, draw.width - 1))
    numbers = draw.facts(entities, attribute)
    best = max(numbers, key=lambda fact: fact.value)
    sites = [Fact(entity, "site", draw.names.city()) for entity in entities]
    wanted = next(fact for fact in sites if fact.entity == best.entity)
    return Problem(
        question=f"What is the site of the project with the highest {attribute.name} among {listed(entities)}?",
        answer=answers.name(str(wanted.value), [str(fact.value) for fact in sites]),
        query={"op": "highest_then", "attribute": attribute.name, "entities": entities, "then": "site"},
        needed=[*numbers, wanted],
        beside=[fact for fact in sites if fact is not wanted],
    )
