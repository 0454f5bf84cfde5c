r"""Generated problems, eight levels, each answer computed here in exact arithmetic.

Every problem also says how to compute its answer by another route: `check` is an expression for a computer algebra
system, which the tests evaluate. It stays hidden, like the answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from environments.maths import algebra, calculus, counting, geometry, problems
from environments.maths.problems import Problem
from environments.maths.stories import story
from environments.maths.surds import latex_of

HINT = "Put only the final answer in \\boxed{}."

LEVELS: tuple[tuple[Callable[[random.Random], Problem], ...], ...] = (
    (problems.sum_of_two, problems.two_step_story, problems.product, geometry.rectangle),
    (problems.expression, problems.division_story, problems.missing_number, geometry.third_angle),
    (
        problems.linear_equation,
        problems.fraction_sum,
        problems.greatest_common_divisor,
        counting.base_number,
        geometry.right_triangle,
        geometry.slope,
    ),
    (
        problems.remainder,
        problems.linear_system,
        problems.arithmetic_series,
        problems.percentage,
        algebra.polynomial_remainder,
        calculus.derivative_value,
        counting.arrangements,
        counting.divisors_of,
        counting.squares,
        geometry.triangle_area,
    ),
    (
        problems.choose,
        problems.geometric_series,
        problems.quadratic,
        problems.modular_power,
        algebra.coefficient,
        calculus.largest_value,
        calculus.limit_of_quotient,
        counting.draws,
        counting.telescope,
        geometry.distance,
        geometry.polygon_angle,
        geometry.sector,
    ),
    (
        problems.paths,
        problems.polynomial_integral,
        problems.congruences,
        problems.inclusion_exclusion,
        calculus.area_between,
        calculus.tangent,
        counting.coprime,
        counting.dice,
        counting.infinite_series,
        counting.trailing_zeros,
        geometry.chord,
    ),
    (algebra.larger_root, algebra.system_of_three, geometry.box_diagonal, geometry.heron),
)
"""Families of levels 1 to 7, in order."""


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


def latex(value: Fraction | dict[int, Fraction]) -> str:
    r"""An exact value as it belongs in a box: `-3`, `-\frac{3}{4}`, `2\sqrt{5}`."""
    if isinstance(value, dict):
        return latex_of(value)
    if value.denominator == 1:
        return str(value.numerator)
    sign = "-" if value < 0 else ""
    return f"{sign}\\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
