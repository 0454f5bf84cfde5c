"""Every generated answer agrees with a second route, and level 0 is as small and as wide as promised."""

import random
from fractions import Fraction

import pytest
import sympy
from sympy.ntheory.modular import crt

from environments.maths.environment import Math
from environments.maths.exact import plain_number
from environments.maths.generator import LEVELS, latex, make
from gym_core.generate import make_tasks

NAMES = {**vars(sympy), "crt": crt, "x": sympy.Symbol("x"), "y": sympy.Symbol("y"), "k": sympy.Symbol("k")}
BUILTINS = {"max": max, "set": set, "sum": sum, "range": range}


def second_route(check):
    return sympy.Rational(str(eval(check, {**NAMES, **BUILTINS})))


FAMILIES = [(level, family) for level, families in enumerate(LEVELS, start=1) for family in families]


@pytest.mark.parametrize(("level", "family"), FAMILIES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_answers_agree_with_computer_algebra(level, family):
    draw = random.Random(level)
    for _ in range(25):
        problem = family(draw)
        answer = sympy.Rational(problem.answer.numerator, problem.answer.denominator)
        assert second_route(problem.check) == answer, problem.text


def test_answers_are_written_as_they_are_read():
    draw = random.Random(1)
    for level in range(7):
        for _ in range(50):
            assert plain_number(make(draw, level)["expected_answer"]) is not None


def test_latex_of_fractions():
    assert latex(Fraction(-3, 4)) == "-\\frac{3}{4}"
    assert latex(Fraction(8, 4)) == "2"


def test_level_0_is_short_wide_and_small():
    tasks = make_tasks(Math(), seed=0, level=0, count=5000)
    assert max(len(task.messages[0]["content"].split()) for task in tasks) <= 14
    assert {int(task["expected_answer"]) for task in tasks} == set(range(7))
    assert len(make_tasks(Math(), seed=0, level=0, count=256, split="heldout")) == 256


def test_hidden_fields_stay_home():
    for task in make_tasks(Math(), seed=0, level=3, count=5):
        assert not {"expected_answer", "check"} & set(task.to_row())
