"""Every generated answer agrees with a second route, and level 0 is as small and as wide as promised."""

import random
from fractions import Fraction

import pytest
import sympy
from sympy.calculus.util import maximum
from sympy.ntheory.modular import crt

from environments.maths.environment import Math
from environments.maths.generator import LEVELS, latex
from environments.maths.grading import parse_boxed
from environments.maths.surds import PI, exact_sum
from gym_core.generate import make_tasks

SYMBOLS = {name: sympy.Symbol(name) for name in "xyzk"}
NAMES = {**vars(sympy), **SYMBOLS, "crt": crt, "maximum": maximum}
BUILTINS = {"max": max, "set": set, "sum": sum, "range": range}


def second_route(check):
    return sympy.sympify(eval(check, {**NAMES, **BUILTINS}))


def value(answer):
    if not isinstance(answer, dict):
        return sympy.Rational(answer.numerator, answer.denominator)
    units = {unit: sympy.pi if unit == PI else sympy.sqrt(unit) for unit in answer}
    return sum(
        (sympy.Rational(part.numerator, part.denominator) * units[unit] for unit, part in answer.items()),
        sympy.Integer(0),
    )


FAMILIES = [(level, family) for level, families in enumerate(LEVELS, start=1) for family in families]


@pytest.mark.parametrize(("level", "family"), FAMILIES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_answers_agree_with_computer_algebra(level, family):
    draw = random.Random(level)
    for _ in range(12):
        problem = family(draw)
        answer, other = value(problem.answer), second_route(problem.check)
        assert abs(sympy.N(answer, 30) - sympy.N(other, 30)) < 1e-20, problem.text
        assert sympy.simplify(answer - other) == 0, problem.text


@pytest.mark.parametrize(("level", "family"), FAMILIES, ids=lambda value: getattr(value, "__name__", str(value)))
def test_answers_are_written_as_they_are_read(level, family):
    draw = random.Random(level)
    texts = set()
    for _ in range(40):
        problem = family(draw)
        texts.add(problem.text)
        wanted = problem.answer if isinstance(problem.answer, dict) else {1: problem.answer} if problem.answer else {}
        assert exact_sum(latex(problem.answer)) == wanted
        (read, *_) = parse_boxed(latex(problem.answer))
        assert abs(sympy.N(read) - sympy.N(value(problem.answer))) < 1e-9
    assert len(texts) >= 25  # a family of few problems would be learnt by heart


def test_there_are_families_of_every_kind_at_many_levels():
    rooms = {family.__module__.rpartition(".")[2] for _, family in FAMILIES}
    assert rooms == {"problems", "algebra", "calculus", "counting", "geometry"}
    assert len(FAMILIES) >= 45 and len(LEVELS) == 7


def test_latex_of_fractions():
    assert latex(Fraction(-3, 4)) == "-\\frac{3}{4}"
    assert latex(Fraction(8, 4)) == "2"
    assert latex({5: Fraction(-1, 2)}) == "-\\frac{\\sqrt{5}}{2}"
    assert latex({1: Fraction(3, 4), 5: Fraction(1, 2)}) == "\\frac{3+2\\sqrt{5}}{4}"
    assert latex({PI: Fraction(1)}) == "\\pi"
    assert latex({}) == "0"


def test_level_0_is_short_wide_and_small():
    tasks = make_tasks(Math(), seed=0, level=0, count=5000)
    assert max(len(task.messages[0]["content"].split()) for task in tasks) <= 14
    assert {int(task["expected_answer"]) for task in tasks} == set(range(7))
    assert len(make_tasks(Math(), seed=0, level=0, count=256, split="heldout")) == 256


def test_hidden_fields_stay_home():
    for task in make_tasks(Math(), seed=0, level=3, count=5):
        assert not {"expected_answer", "check"} & set(task.to_row())
