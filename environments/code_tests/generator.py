"""Generated tasks: a family with its parameters, and the tests, which are made again from a seed when they are needed.

Tests of a task: an example, edges, small random inputs, one of full size, and more small ones until every wrong program
of the family fails one of them.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import lru_cache

from environments.code_tests.families import FAMILIES, at_level
from environments.code_tests.families.base import Family, Params
from environments.code_tests.problem import MAX_TESTS, Case, Problem
from gym_core.sandbox.run import Limits

LIMITS = Limits(cpu_s=2.0, wall_s=12.0, memory_mb=512, output_bytes=4 << 20)
LEVELS = range(6)

_PLAN = ("tiny", "edge", "edge", "random", "random")
_TRIES = 200

Made = dict[str, object]


def make(rng: random.Random, level: int) -> Made:
    """A task of this level: `prompt`, and hidden the family, its parameters and the seed of its tests."""
    family = rng.choice(at_level(level))
    params = family.draw(rng, level)
    seed = rng.getrandbits(48)
    example = family.case(random.Random(seed), params, "tiny")
    prompt = (
        family.tell(params)
        if family.short
        else (
            "Write a Python 3 program that reads from standard input and writes to standard output.\n\n"
            f"{family.tell(params)}\n\nExample input:\n{example}Example output:\n{family.answer(example, params)}\n\n"
            f"Each test allows {LIMITS.cpu_s:g} s of CPU time and {LIMITS.memory_mb} MB. Put the whole program between "
            "```python "
            "and ```, each on a line of its own."
        )
    )
    return {"prompt": prompt, "family": family.name, "params": params, "tests_seed": seed, "sized": level > 0}


def problem_of(name: str, params: Params, seed: int, sized: bool) -> Problem:
    """The tests of a generated task."""
    family = FAMILIES[name]
    inputs = build(family, params, seed, sized)
    cases = [Case(text, family.answer(text, params)) for text in inputs]
    return Problem(cases=cases, limits=LIMITS, check=family.check)


def build(family: Family, params: Params, seed: int, sized: bool) -> list[str]:
    """Inputs, the example first. Each of the family's wrong programs fails one of them (where any input shows it)."""
    rng = random.Random(seed)
    inputs = [family.case(rng, params, kind) for kind in _PLAN]
    if sized:
        inputs.append(family.case(rng, params, "large"))
    small = [text for text in inputs[: len(_PLAN)]]
    for number in range(len(family.slips)):
        wrong = _wrong(family.name, number)
        if any(_fails(family, params, wrong, text) for text in small):
            continue
        for attempt in range(_TRIES):
            text = family.case(rng, params, ("random", "tiny", "edge")[attempt % 3])
            if _fails(family, params, wrong, text):
                small.append(text)
                inputs.append(text)
                break
    return list(dict.fromkeys(inputs))[:MAX_TESTS]


def _fails(family: Family, params: Params, wrong: Callable[..., str], text: str) -> bool:
    """Whether this wrong program is found out by this input."""
    right = family.answer(text, params)
    try:
        said = family.answer(text, params, wrong)
    except (ArithmeticError, LookupError, TypeError, ValueError, NameError):
        return True
    return not family.check(text, said, right) if family.check else said != right


@lru_cache(maxsize=256)
def _wrong(name: str, number: int) -> Callable[..., str]:
    """The solution of a family with one slip in it; text of our own, so it may run here."""
    family = FAMILIES[name]
    source = family.program(dict.fromkeys(family.constants, 0), slip=family.slips[number])
    space: dict[str, Callable[..., str]] = {}
    exec(compile(source.rsplit("\nprint(", 1)[0], f"{name}-{number}", "exec"), space)
    return space[family.solve.__name__]
