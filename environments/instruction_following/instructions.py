"""Several constraints together: checked, witnessed, broken one at a time."""

from __future__ import annotations

import random

from environments.instruction_following.verifiers import REGISTRY, Draw, Kwargs
from environments.instruction_following.verifiers.text import has_word, visible
from environments.instruction_following.witness import Impossible, Plan, render

Instruction = tuple[str, Kwargs]
WITNESS_TRIES = 8


def follow(instructions: list[Instruction], text: str) -> list[bool]:
    """Strict verdicts in order. A text without a single letter or digit follows nothing."""
    shown = visible(text)
    if not has_word(shown):
        return [False] * len(instructions)
    return [REGISTRY[name].check(shown, given) for name, given in instructions]


def follow_published(instructions: list[Instruction], text: str) -> list[bool]:
    """Verdicts of the public rules; where the public checker would raise on an empty text, it says no."""
    return [REGISTRY[name].published(text, given) for name, given in instructions]


def witness(instructions: list[Instruction], rng: random.Random) -> str:
    """A text that follows all of them, proven by the verifiers. Raises `Impossible` where none was found."""
    for _ in range(WITNESS_TRIES):
        text = _compose(instructions, rng)
        if all(follow(instructions, text)):
            return text
    raise Impossible(f"no witness for {', '.join(name for name, _ in instructions)}")


def _compose(instructions: list[Instruction], rng: random.Random) -> str:
    for name, given in instructions:
        if REGISTRY[name].solo:
            keywords = [word for other, kwargs in instructions if other != name for word in _keywords(kwargs)]
            return REGISTRY[name].write(Draw(rng), given, keywords)
    plan = Plan(rng)
    for name, given in instructions:
        REGISTRY[name].shape(plan, given)
    return render(plan)


def _keywords(given: Kwargs) -> list[str]:
    return given.get("keywords", [])


def counterexample(instructions: list[Instruction], number: int, text: str) -> str:
    """A text near this one that breaks constraint `number`; the others stay followed where an edit allows it.

    Raises `Impossible` where no edit breaks it.
    """
    name, given = instructions[number]
    broken = []
    for edited in REGISTRY[name].spoil(text, given):
        followed = follow(instructions, edited)
        if not followed[number]:
            if sum(followed) == len(followed) - 1:
                return edited
            broken.append(edited)
    if not broken:
        raise Impossible(f"nothing breaks {name}")
    return broken[0]
