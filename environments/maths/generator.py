r"""Generated problems, seven levels, each answer computed here in exact integers or fractions.

Every problem also says how to compute its answer by another route: `check` is an expression for a computer algebra
system, which the tests evaluate. It stays hidden, like the answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from environments.maths import problems
from environments.maths.problems import Problem
from environments.maths.stories import story

HINT = "Put only the final answer in \\boxed{}."

LEVELS: tuple[tuple[Callable[[random.Random], Problem], ...], ...] = (
    (problems.sum_of_two, problems.two_step_story, problems.product),
    (problems.expression, problems.division_story, problems.missing_number),
    (problems.linear_equation, problems.fraction_sum, problems.greatest_common_divisor),
    (problems.remainder, problems.linear_system, problems.arithmetic_series, problems.percentage),
    (problems.choose, problems.geometric_series, problems.quadratic, problems.modular_power),
    (problems.paths, problems.polynomial_integral, problems.congruences, problems.inclusion_exclusion),
)
"""Families of levels 1 to 6, in order."""


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """One problem of this level: prompt, `expected_answer` (hidden) and `check` (hidden)."""
    if level == 0:
        prompt, answer = story(rng)
        return {"prompt": prompt, "expected_answer": str(answer), "check": ""}
    problem = rng.choice(LEVELS[level - 1])(rng)
    return {
        "prompt": f"{problem.text} {HINT}",
        "expected_answer": latex(problem.answer),
        "check": problem.check,
    }


def latex(value: Fraction) -> str:
    r"""An exact value as it belongs in a box: `-3` or `-\frac{3}{4}`."""
    if value.denominator == 1:
        return str(value.numerator)
    sign = "-" if value < 0 else ""
    return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
