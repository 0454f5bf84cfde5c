"""Nothing that a policy or a row says takes long or much: a few seconds at most, and no memory to speak of."""

import resource
import time

import pytest

from environments.maths.environment import Math
from environments.maths.grading import grade_published, grade_strict
from gym_core.contracts import Task
from gym_core.errors import BadRow

MONSTERS = {
    "tower": r"9^{9^{9^9}}",
    "factorials": "5!!!!!!!!",
    "nested_factorials": "((((5!)!)!)!)!",
    "braces": "{" * 10_000 + "5" + "}" * 10_000,
    "parentheses": "(" * 400 + "5" + ")" * 400,
    "fractions": r"\frac{1}{" * 3000 + "1" + "}" * 3000,
    "sums": "1+" * 3000 + "1",
    "roots": r"\sqrt{" * 500 + "5" + "}" * 500,
    "product": r"(x+1)" * 150,
    "power": r"(x+y+z+1)^{2000}",
    "binomial": r"\binom{999999}{499999}",
    "long_sum": r"\sum_{k=1}^{10^{9}} k",
    "integral": r"\int_0^1 x^{x^{x}} dx",
    "digits": "7" * 100_000,
    "exponent": "1e999999999",
    "matrix": r"\begin{pmatrix}" + r"1 & 2 \\" * 2000 + r"\end{pmatrix}",
    "unclosed": r"\boxed{" * 5000,
}


LONG = {"sums", "product", "power", "integral", "matrix"}
"""These run until the published grading's deadline, as they do in the public verifier."""


def bounded(grade, text, limit_s, limit_kib=200_000):
    """The reward, after at most so many seconds and so much memory."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    reward = grade("5", text)[0]
    assert time.monotonic() - began < limit_s
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < limit_kib
    return reward


@pytest.mark.parametrize("name", MONSTERS)
def test_a_monster_earns_nothing_and_is_over_soon(name):
    assert bounded(grade_strict, f"\\boxed{{{MONSTERS[name]}}}", 20.0) == 0.0
    assert bounded(grade_strict, MONSTERS[name], 20.0) == 0.0


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in LONG else n for n in MONSTERS])
def test_the_published_grading_is_bounded_too(name):
    for text in (f"\\boxed{{{MONSTERS[name]}}}", f"${MONSTERS[name]}$"):
        assert bounded(grade_published, text, 30.0, limit_kib=2_000_000) in (0.0, 1.0)


@pytest.mark.parametrize("name", MONSTERS)
def test_a_monster_is_no_gold_answer_that_stops_the_service(name):
    row = {"responses_create_params": {"input": "?"}, "expected_answer": MONSTERS[name]}
    began = time.monotonic()
    try:
        Math().ingest(Task.from_row(row, "math"))
    except BadRow as refused:
        assert refused.field == "expected_answer" and len(refused.message) < 600
    assert time.monotonic() - began < 20.0
