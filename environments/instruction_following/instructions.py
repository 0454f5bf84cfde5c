"""Several constraints together: checked, witnessed, broken one at a time."""

from __future__ import annotations

import random

from environments.instruction_following.verifiers import REGISTRY, Draw, Kwargs
from environments.instruction_following.verifiers.text import has_word, visible
from environments.instruction_following.witness import Impossible, Plan, render

Instruction = tuple[str, Kwargs]
WITNESS_TRIES = 8
MAX_LOOSE = 200_000
"""A longer text, in characters, is read as it stands and in no variant."""


def follow(instructions: list[Instruction], text: str, *, loose: bool = False) -> list[bool]:
    """Strict verdicts in order. A text without a single letter or digit follows nothing.

    `loose`: a constraint is kept where any variant of the text keeps it.
    """
    variants = [variant for variant in _variants(visible(text), loose) if has_word(variant)]
    return [any(REGISTRY[name].check(variant, given) for variant in variants) for name, given in instructions]


def follow_published(
    instructions: list[Instruction], text: str, *, loose: bool = False, blank_fails: bool = False
) -> list[bool]:
    """Verdicts of the public rules; where the public checker would raise on an empty text, it says no.

    `blank_fails`: a text, or variant, of nothing but white space follows nothing, as on the benchmark's server.
    """
    variants = [variant for variant in _variants(text, loose) if variant.strip() or not blank_fails]
    return [any(REGISTRY[name].published(variant, given) for variant in variants) for name, given in instructions]


def _variants(text: str, loose: bool) -> list[str]:
    """The text; loosely also without its first line, its last, both, each with and without stars, none twice."""
    if not loose or len(text) > MAX_LOOSE:
        return [text]
    lines = text.split("\n")
    cut = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return list(dict.fromkeys([*cut, *(variant.replace("*", "") for variant in cut)]))


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
