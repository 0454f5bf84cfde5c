"""Small questions with one right answer, a number or a name, that has to be worked out."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

PEOPLE = ("Ada", "Bo", "Cleo", "Dan", "Elin", "Finn", "Gus", "Hana", "Ivo", "Jun", "Kaya", "Lars", "Mona", "Nils")
THINGS = ("pens", "cups", "books", "lamps", "chairs", "plates", "bags", "clocks", "maps", "stamps", "keys", "ropes")
_NUMBER = re.compile(r"(?<![\w.,])-?\d+(?:[.,]\d+)*(?!\w)")


@dataclass(frozen=True, slots=True)
class Question:
    """`answer` is the number in digits, or one of `candidates`; `says` is a sentence that holds it."""

    text: str
    answer: str
    says: str
    candidates: tuple[str, ...] = ()

    def answered(self, reply: str) -> bool:
        """Exactly one number, or exactly one of the candidates, and it is the right one."""
        if self.candidates:
            named = {name for name in self.candidates if re.search(rf"(?<!\w){name}(?!\w)", reply)}
            return named == {self.answer}
        return _NUMBER.findall(reply) == [self.answer] and not re.search(r"\d", _NUMBER.sub("", reply))


def _price(rng: random.Random, size: int) -> Question:
    things = rng.sample(THINGS, size + 1)
    parts = [(rng.randint(2, 9), thing, rng.randint(2, 9 + 10 * size)) for thing in things]
    listed = " and ".join(f"{count} {thing} at {each}" for count, thing, each in parts)
    total = str(sum(count * each for count, _, each in parts))
    return Question(f"I buy {listed}. What do I pay in all?", total, f"You pay {total}.")


def _change(rng: random.Random, size: int) -> Question:
    costs = [rng.randint(2, 30) for _ in range(size + 1)]
    paid = sum(costs) + rng.randint(1, 50)
    listed = " and ".join(map(str, costs))
    left = str(paid - sum(costs))
    return Question(f"I pay {paid} for things that cost {listed}. What do I get back?", left, f"You get back {left}.")


def _minutes(rng: random.Random, size: int) -> Question:
    start = rng.randint(6 * 60, 14 * 60)
    length = rng.randint(5, 60 + 60 * size)
    times = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in (start, start + length)]
    asked = f"A train leaves at {times[0]} and arrives at {times[1]}. How many minutes is that?"
    return Question(asked, str(length), f"The ride takes {length} minutes.")


def _most(rng: random.Random, size: int) -> Question:
    people, thing = rng.sample(PEOPLE, size + 3), rng.choice(THINGS)
    counts = rng.sample(range(2, 60), len(people))
    listed = ", ".join(f"{name} has {count}" for name, count in zip(people, counts, strict=True))
    winner = people[counts.index(max(counts))]
    asked = f"Of {thing}, {listed}. Who has the most? Say one name."
    return Question(asked, winner, f"It is {winner}.", tuple(people))


def _second(rng: random.Random, size: int) -> Question:
    people = rng.sample(PEOPLE, size + 3)
    ages = rng.sample(range(18, 90), len(people))
    listed = ", ".join(f"{name} is {age}" for name, age in zip(people, ages, strict=True))
    answer = people[ages.index(sorted(ages)[1])]
    return Question(f"{listed}. Who is the second youngest? Say one name.", answer, f"It is {answer}.", tuple(people))


def _left(rng: random.Random, size: int) -> Question:
    thing = rng.choice(THINGS)
    have = rng.randint(30, 90)
    told, left = [], have
    for _ in range(size + 1):
        change = rng.choice((-1, 1)) * rng.randint(2, 20)
        change = abs(change) if left + change < 1 else change
        told.append(f"{'get' if change > 0 else 'give away'} {abs(change)}")
        left += change
    asked = f"I have {have} {thing}, then I {', then I '.join(told)}. How many are left?"
    return Question(asked, str(left), f"You have {left} left.")


FAMILIES: tuple[Callable[[random.Random, int], Question], ...] = (_price, _change, _minutes, _most, _second, _left)
