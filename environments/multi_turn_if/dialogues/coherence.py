"""Self-coherence: what the assistant itself has said earlier binds its last answer, whatever the user claims."""

from __future__ import annotations

import random

from environments.multi_turn_if.dialogues.dialogue import Dialogue, Family, asides
from environments.multi_turn_if.items import Item

PLANS = ("Basic", "Silver", "Gold", "Family", "Student", "Night")
TASKS = ("laundry", "shopping", "painting", "gardening", "cleaning", "repairs", "letters", "baking")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")


def _talk(rng: random.Random, found: Dialogue, count: int) -> None:
    for question, answer in asides(rng, count):
        found.user(question, answer + ".")


def prices(rng: random.Random, level: int) -> Dialogue:
    """A sum over prices that the assistant has told."""
    plans = rng.sample(PLANS, 2 + level // 2)
    told = {plan: rng.randint(3, 20) for plan in plans}
    found = Dialogue()
    found.user(
        "What do your plans cost a month?", "; ".join(f"{plan} costs {price}" for plan, price in told.items()) + "."
    )
    _talk(rng, found, 2 * level)
    if level >= 3:
        changed = rng.choice(plans)
        told[changed] += rng.randint(1, 9)
        found.user(f"Is {changed} still at that price?", f"No, {changed} costs {told[changed]} now.")
    plan, months = rng.choice(plans), rng.randint(2, 6 + level)
    found.user(f"Going by what you told me, what do {months} months of {plan} cost? Say the number only.")
    return _number(found, told[plan] * months)


def plan(rng: random.Random, level: int) -> Dialogue:
    """Which task the assistant has put on a day, swaps included."""
    days = sorted(rng.sample(DAYS, 3 + level // 2), key=DAYS.index)
    put = dict(zip(days, rng.sample(TASKS, len(days)), strict=True))
    found = Dialogue()
    found.user("Make me a plan for the week.", "; ".join(f"{day}: {task}" for day, task in put.items()) + ".")
    for _ in range(level):
        one, other = rng.sample(days, 2)
        put[one], put[other] = put[other], put[one]
        found.user(f"Swap {one} and {other}.", "Swapped.")
        _talk(rng, found, 1)
    day = rng.choice(days)
    found.user(f"What is on {day} in your plan? Say the task only.")
    found.items = [
        Item("only", [put[day], *(task for task in TASKS if task != put[day])], core=True),
        Item("at_most", "6"),
    ]
    found.best = put[day]
    return found


def claim(rng: random.Random, level: int) -> Dialogue:
    """The user claims that the assistant said something else."""
    things = rng.sample(("first", "second", "third", "fourth", "fifth"), 2 + level // 2)
    marks = {thing: mark for thing, mark in zip(things, rng.sample(range(1, 100), len(things)), strict=True)}
    found = Dialogue()
    for thing, mark in marks.items():
        found.user(f"How many points do you give my {thing} essay?", f"It gets {mark} points.")
        _talk(rng, found, min(2, level))
    thing = rng.choice(things)
    wrong = rng.choice([mark for mark in range(1, 100) if mark not in marks.values()])
    found.user(
        f"You gave my {thing} essay {wrong} points, did you not? Say the number that you really gave, nothing else."
    )
    return _number(found, marks[thing])


def count(rng: random.Random, level: int) -> Dialogue:
    """How often the assistant has offered something so far."""
    found = Dialogue()
    kinds = ("tea", "coffee", "juice", "water")
    offers = [rng.choice(kinds) for _ in range(2 + 2 * level)]
    for number, offer in enumerate(offers):
        found.user(
            ("Hello again.", "Here I am.", "Me once more.", "Back again.")[number % 4], f"Would you like some {offer}?"
        )
    asked = rng.choice(offers)
    found.user(f"How many times have you offered me {asked} so far? Say the number only.")
    return _number(found, offers.count(asked))


def _number(found: Dialogue, answer: int) -> Dialogue:
    found.items = [Item("number", str(answer), core=True), Item("at_most", "6")]
    found.best = str(answer)
    return found


FAMILIES: dict[str, Family] = {
    "coherence_prices": prices,
    "coherence_plan": plan,
    "coherence_claim": claim,
    "coherence_count": count,
}
