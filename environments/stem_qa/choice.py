"""From a truth and named errors to options of which exactly one is true.

Numbers: every error model changes the value by a factor (or, for counts, by a difference), and errors combine. The
options are the truth under a random set of combinations; which combination is called "no error" is drawn among those
shown, and each error's direction is drawn too. So the truth is neither the middle, nor the smallest, nor the value
that most others resemble: shown without its question, every option could have been it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from math import floor, log10

LETTERS = "ABCDEFGHIJ"
TRUTH = "no error"
TRIES = 300
PLAIN = (0.001, 999_999.0)
"""Where one option lies outside, all are written with a power of ten: the odd one out would say something."""


class NoOptions(ValueError):
    """These numbers leave no room for that many options: draw others."""


@dataclass(slots=True, frozen=True)
class Fact:
    """A question with a number for an answer.

    `errors` maps the name of an error to its factor, or to its difference where `counted`. `check` is an expression
    whose value is the answer on another route. `digits` are significant ones; counts are whole numbers.
    """

    text: str
    value: float
    unit: str
    errors: dict[str, float]
    check: str
    counted: bool = False
    digits: int = 3
    limit: float = float("inf")


@dataclass(slots=True, frozen=True)
class Pick:
    """A question whose options are texts: the true one and wrong ones by the error that leads to them."""

    text: str
    truth: str
    wrong: dict[str, str]
    check: str = ""


@dataclass(slots=True, frozen=True)
class Choice:
    """Options in the order shown, the place of the true one, and the error model behind each."""

    options: list[str]
    answer: int
    models: list[str] = field(default_factory=list)

    @property
    def letter(self) -> str:
        return LETTERS[self.answer]


SLIPS: tuple[tuple[str, float], ...] = (
    ("power of ten", 10.0),
    ("factor of two", 2.0),
    ("half as much again", 1.5),
    ("slip of a quarter", 1.25),
    ("slip of a tenth", 1.1),
)
"""Errors that anybody makes anywhere, the coarse ones first: a level takes them from a place that grows with it."""

STEPS: tuple[tuple[str, float], ...] = (
    ("off by one", 1.0),
    ("off by two", 2.0),
    ("off by four", 4.0),
    ("off by eight", 8.0),
)


def from_fact(rng: random.Random, fact: Fact, count: int, level: int) -> Choice:
    """`count` options around a fact; closer together on higher levels."""
    slips = STEPS if fact.counted else SLIPS[min(level // 2, 2) :]
    errors = {**fact.errors, **{name: size for name, size in slips if name not in fact.errors}}
    own = min(len(fact.errors), count - 1)
    common = [name for name in errors if name not in fact.errors]
    more = min(max(0, _axes(count) - own), len(common))
    for _ in range(TRIES):
        names = rng.sample(list(fact.errors), own) + rng.sample(common, more)
        choice = _combined(rng, fact, {name: errors[name] for name in names}, count)
        if choice is not None:
            return choice
    raise NoOptions(f"no {count} options for {fact.text!r}")


def _axes(count: int) -> int:
    """How many errors are needed so that their combinations leave a choice."""
    return (count - 1).bit_length() + 1


def _combined(rng: random.Random, fact: Fact, errors: dict[str, float], count: int) -> Choice | None:
    names = list(errors)
    directions = {name: rng.choice((1, -1)) for name in names}
    corners = rng.sample(range(1 << len(names)), count)
    origin = rng.choice(corners)
    values, models = [], []
    for corner in corners:
        value, made = fact.value, []
        for bit, name in enumerate(names):
            step = (corner >> bit & 1) - (origin >> bit & 1)
            if step:
                made.append(name)
                value = _changed(fact, value, errors[name], step * directions[name])
        values.append(value)
        models.append(" + ".join(made) or TRUTH)
    scientific = not fact.counted and not all(PLAIN[0] <= abs(value) < PLAIN[1] for value in values)
    shown = [written(value, fact, scientific) for value in values]
    if not _sensible(fact, values, shown):
        return None
    return Choice(shown, corners.index(origin), models)


def _changed(fact: Fact, value: float, size: float, direction: int) -> float:
    return value + direction * size if fact.counted else value * size**direction


def _sensible(fact: Fact, values: list[float], shown: list[str]) -> bool:
    """Different options, none that could be ruled out by its sign or by a limit that anybody knows."""
    if len(set(shown)) < len(shown):
        return False
    if any(abs(value) > fact.limit for value in values):
        return False
    return not fact.counted or fact.value < 0 or min(values) >= 0


def written(value: float, fact: Fact, scientific: bool = False) -> str:
    """The value as an option: a whole number, or so many significant digits; then the unit."""
    number = str(round(value)) if fact.counted else significant(value, fact.digits, scientific)
    return f"{number} {fact.unit}".strip()


def significant(value: float, digits: int = 3, scientific: bool = False) -> str:
    """`0.0451`, `12.0`, or `3.46 × 10^8`: always so many significant digits."""
    if value == 0:
        return "0"
    exponent = floor(log10(abs(float(f"{value:.{digits - 1}e}"))))
    if not scientific and -4 < exponent < 6:
        places = digits - 1 - exponent
        return f"{round(value, places):.{max(places, 0)}f}"
    mantissa = f"{value:.{digits - 1}e}".partition("e")[0]
    return f"{mantissa} × 10^{exponent}"


def from_pick(rng: random.Random, pick: Pick, count: int) -> Choice:
    """The true text and as many wrong ones as there are, up to `count` in all."""
    wrong = rng.sample([item for item in pick.wrong.items() if item[1] != pick.truth], min(count - 1, len(pick.wrong)))
    shown = [(TRUTH, pick.truth), *wrong]
    rng.shuffle(shown)
    options = [text for _, text in shown]
    assert len(set(options)) == len(options), options
    return Choice(options, options.index(pick.truth), [model for model, _ in shown])


def exchangeable(rng: random.Random, candidates: dict[str, str], count: int) -> tuple[str, Choice]:
    """Which candidate is asked for, and options among the values of candidates.

    Every option is the right answer to the same question about another candidate, and the one asked for is drawn
    among them: without the document nothing tells them apart. Values that two candidates share are left out.
    """
    values = list(candidates.values())
    unique = [key for key in candidates if values.count(candidates[key]) == 1]
    shown = rng.sample(unique, min(count, len(unique)))
    place = rng.randrange(len(shown))
    models = [TRUTH if number == place else f"value of {key}" for number, key in enumerate(shown)]
    return shown[place], Choice([candidates[key] for key in shown], place, models)
