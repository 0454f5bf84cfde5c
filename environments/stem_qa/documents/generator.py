"""A document with a question: how long, how many options and how many steps grow with the level."""

from __future__ import annotations

import random
from dataclasses import dataclass

from environments.stem_qa.choice import TRUTH, Choice, NoOptions
from environments.stem_qa.documents import questions
from environments.stem_qa.documents.kinds import KINDS
from environments.stem_qa.documents.questions import Asked, Question
from environments.stem_qa.documents.sheet import draw_sheet

TRIES = 200


@dataclass(slots=True, frozen=True)
class Size:
    """Rows, columns and groups of a sheet, from and to; the kinds of question."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    groups: tuple[int, int]
    questions: tuple[Question, ...]


_SIMPLE = (questions.lookup, questions.who)
_COMPARE = (questions.extreme, questions.difference, questions.negation)
_GROUPS = (questions.join, questions.membership)
_SUMS = (questions.group_total, questions.total_of_three, questions.group_spread)
SIZES = {
    1: Size((4, 5), (1, 2), (0, 0), _SIMPLE),
    2: Size((5, 8), (2, 3), (0, 0), (*_SIMPLE, *_COMPARE)),
    3: Size((8, 11), (2, 3), (6, 7), (*_COMPARE, *_GROUPS)),
    4: Size((16, 20), (3, 4), (8, 9), (questions.join, questions.join_extreme, *_COMPARE, *_SUMS)),
    5: Size((26, 32), (4, 5), (10, 12), (questions.join_extreme, questions.difference, *_SUMS)),
}


def make(rng: random.Random, level: int, count: int) -> tuple[str, str, Asked]:
    """Kind of the document, its text, and the question with its options."""
    size = SIZES[level]
    for _ in range(TRIES):
        sheet = draw_sheet(rng, rng.randint(*size.rows), rng.randint(*size.columns), rng.randint(*size.groups))
        kind = rng.choice(list(KINDS))
        try:
            asked = rng.choice(size.questions)(rng, sheet, count)
        except NoOptions:
            continue
        return kind, KINDS[kind](sheet, rng), asked
    raise AssertionError(f"no question of level {level} in {TRIES} draws")


# Level 0 ---------------------------------------------------------------------------------------------------------

NAMES = ("Ana", "Ben", "Cleo", "Dan", "Eva", "Finn", "Gus", "Hana", "Ivo", "Jin", "Kai", "Lea")
THINGS = ("pens", "cups", "eggs", "keys", "nuts", "maps", "toys", "cards")
SMALLEST_OPTIONS = 4


def smallest(rng: random.Random) -> tuple[str, Choice]:
    """Four names with a number each, or four numbers alone: one to find, or the largest or smallest.

    `Ana 3, Ben 5, Cleo 4, Dan 7 cups. Ben?`, `Ana 3, Ben 5, Cleo 4, Dan 7 cups. Who has 5?`, `Largest?`
    """
    names = rng.sample(NAMES, SMALLEST_OPTIONS)
    numbers = rng.sample(range(1, 10), SMALLEST_OPTIONS)
    told = ", ".join(f"{name} {number}" for name, number in zip(names, numbers, strict=True))
    told = f"{told} {rng.choice(THINGS)}."
    kind = rng.randrange(3)
    if kind == 0:
        candidates = {name: str(number) for name, number in zip(names, numbers, strict=True)}
        asked, choice = questions.exchangeable(rng, candidates, SMALLEST_OPTIONS)
        return f"{told} {asked}?", choice
    if kind == 1:
        candidates = {str(number): name for name, number in zip(names, numbers, strict=True)}
        asked, choice = questions.exchangeable(rng, candidates, SMALLEST_OPTIONS)
        return f"{told} Who has {asked}?", choice
    wording, wanted = rng.choice((("Largest?", max(numbers)), ("Smallest?", min(numbers))))
    models = [TRUTH if number == wanted else "another number" for number in numbers]
    return wording, Choice([str(number) for number in numbers], numbers.index(wanted), models)
