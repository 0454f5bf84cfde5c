"""Planted facts: something said in passing, perhaps corrected later, decides the last answer."""

from __future__ import annotations

import random

from environments.multi_turn_if.dialogues.dialogue import Dialogue, Family, asides
from environments.multi_turn_if.items import Item

ALLERGENS = ("peanuts", "milk", "eggs", "fish", "sesame", "soy", "wheat", "celery")
DISHES = ("Alba", "Bruna", "Corsa", "Dorada", "Estrella", "Fontana", "Girasole", "Havana", "Isola")
PEOPLE = ("Ana", "Bo", "Cem", "Dora", "Emil", "Fay", "Gus", "Hana", "Ivo", "Jana", "Kai", "Lea")
TOWNS = ("Arden", "Belmar", "Corvo", "Dunmore", "Elsby", "Fintown", "Garnet", "Holmby")
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _spread(rng: random.Random, level: int, told: list[tuple[str, str]], asked: str) -> Dialogue:
    """Facts in order with small talk between them; at level 0 everything in one message."""
    found = Dialogue()
    if not level:
        found.user(" ".join([*(text for text, _ in told), asked]))
        return found
    talk = asides(rng, 2 * level - 1)
    for number, (text, reply) in enumerate(told):
        found.user(text, reply)
        share = talk[number * len(talk) // len(told) : (number + 1) * len(talk) // len(told)]
        for question, answer in share:
            found.user(question, answer + ".")
    found.user(asked)
    return found


def allergy(rng: random.Random, level: int) -> Dialogue:
    """The one dish without what somebody cannot eat."""
    count = 2 + (level + 1) // 2
    bad = rng.sample(ALLERGENS, 1 + level // 2)
    harmless = [one for one in ALLERGENS if one not in bad]
    dishes = rng.sample(DISHES, count)
    holds = {dish: [rng.choice(bad), rng.choice(harmless)] for dish in dishes[1:]}
    holds[dishes[0]] = rng.sample(harmless, 2)
    told = [(f"I must not eat {one}.", "I will remember that.") for one in bad]
    if level >= 3:
        cured = rng.choice(harmless)
        told.insert(0, (f"I must not eat {cured}.", "I will remember that."))
        told.append((f"Good news: I may eat {cured} again.", "Good to hear."))
        holds[dishes[0]] = [cured, rng.choice([one for one in harmless if one != cured])]
    menu = rng.sample(dishes, count)
    listed = "; ".join(f"{dish} with {' and '.join(rng.sample(holds[dish], 2))}" for dish in menu)
    found = _spread(rng, level, told, f"The menu: {listed}. Which dish can I have? Say its name only.")
    found.items = [Item("only", [dishes[0], *dishes[1:]], core=True), Item("at_most", "6")]
    found.best = dishes[0]
    return found


def budget(rng: random.Random, level: int) -> Dialogue:
    """The dearest thing that the money still buys; the money may change on the way."""
    prices = rng.sample(range(5, 100), 3 + level // 2)
    names = rng.sample(DISHES, len(prices))
    ordered = sorted(zip(prices, names, strict=True))
    place = rng.randrange(len(ordered) - 1)
    money = rng.randint(ordered[place][0], ordered[place + 1][0] - 1)
    told = [(f"I have {money} to spend.", "Understood.")]
    if level >= 2:
        gift = rng.randint(1, 40)
        told = [
            (f"I have {money + gift} to spend.", "Understood."),
            (f"I just spent {gift} of it on a cake.", "I see."),
        ]
    listed = ", ".join(f"{name} for {price}" for price, name in zip(prices, names, strict=True))
    found = _spread(
        rng, level, told, f"There are hotels: {listed}. Which is the dearest that I can pay? Say its name only."
    )
    answer = ordered[place][1]
    found.items = [Item("only", [answer, *(name for name in names if name != answer)], core=True), Item("at_most", "6")]
    found.best = answer
    return found


def recall(rng: random.Random, level: int) -> Dialogue:
    """Where somebody lives, among others who moved as well."""
    people = rng.sample(PEOPLE, 2 + level // 2)
    homes = dict(zip(people, rng.sample(TOWNS, len(people)), strict=True))
    told = [(f"{name} lives in {town}.", "I see.") for name, town in homes.items()]
    for _ in range(level):
        name = rng.choice(people)
        homes[name] = rng.choice([town for town in TOWNS if town != homes[name]])
        told.append((f"{name} has moved to {homes[name]}.", "Thanks for telling me."))
    asked = rng.choice(people)
    found = _spread(rng, level, told, f"In which town does {asked} live now? Say the town only.")
    town = homes[asked]
    found.items = [Item("only", [town, *(other for other in TOWNS if other != town)], core=True), Item("at_most", "6")]
    found.best = town
    return found


def free_day(rng: random.Random, level: int) -> Dialogue:
    """The one proposed day on which there is nothing else."""
    days = rng.sample(DAYS, len(DAYS))
    proposed = days[: 2 + level // 2]
    busy = proposed[1:]
    reasons = ("I swim", "I see the dentist", "my sister visits", "I work late", "there is a concert", "I am away")
    told = [(f"On {day} {rng.choice(reasons)}.", "Noted.") for day in rng.sample(busy, len(busy))]
    if level >= 3:
        told.insert(0, (f"On {proposed[0]} I have a class.", "Noted."))
        told.append((f"The class on {proposed[0]} is cancelled.", "Noted."))
    listed = ", ".join(sorted(proposed, key=DAYS.index))
    found = _spread(rng, level, told, f"They propose {listed}. On which of these days am I free? Say the day only.")
    found.items = [
        Item("only", [proposed[0], *(day for day in DAYS if day != proposed[0])], core=True),
        Item("at_most", "6"),
    ]
    found.best = proposed[0]
    return found


FAMILIES: dict[str, Family] = {
    "fact_allergy": allergy,
    "fact_budget": budget,
    "fact_recall": recall,
    "fact_free_day": free_day,
}
