"""Arithmetic is read without running anything, and nothing large is computed."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.reasoning_gym.expressions import harmless, literal, value_of


@pytest.mark.parametrize(
    ("text", "value", "numbers"),
    [
        ("94*4 - 61 - 6", 309, [94, 4, 61, 6]),
        ("9*3*8/9", 24, [9, 3, 8, 9]),
        ("8/(3-8/3)", 24, [8, 3, 8, 3]),
        ("-(2)+3", 1, [2, 3]),
    ],
)
def test_value_of(text, value, numbers):
    assert value_of(text) == (Fraction(value), numbers)


@pytest.mark.parametrize(
    "text",
    ["", "1/0", "2**3", "5//2", "1.5", "True", "a", "1_0", "int(24)", "24 = 24", "2(3)", "(" * 5000, "1+" * 5000 + "1"],
)
def test_value_of_refuses(text):
    assert value_of(text) is None


@pytest.mark.parametrize("text", ["x**2/2 + C", "sin(3*x)*exp(-x)/10", "-sqrt(x)", "2*x**(1/2)", "x*asin(3*x) + C"])
def test_formulas_are_harmless(text):
    assert harmless(text)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').getpid()",
        "().__class__",
        "x.diff(x)",
        "Integral(x, x)",
        "eval(x)",
        "exec('1')",
        "[x for x in (1,)]",
        "lambda x: x",
        "9**9**9**9",
        "9**(9**9)",
        "10**200",
        "x**x**999",
        "(10**99)**99",
        "1e300**9",
        "sin(x, y)",
        "x if x else y",
        "'a'*9",
        "(",
    ],
)
def test_the_rest_is_not(text):
    assert not harmless(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("[[1, 0], [0, 1]]", [[1, 0], [0, 1]]),
        ("['a', 'b']", ["a", "b"]),
        ("((0xc3 << 0x3) + (0x7 - 0x4))", 1563),
        ("-1", -1),
    ],
)
def test_literal(text, value):
    assert literal(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "print(1)",
        "1 << 10**9",
        "(1 << 4000) * (1 << 4000) << 4096 << 4096 << 4096 << 4096 "
        "<< 4096 << 4096 << 4096 << 4096 << 4096 << 4096 << 4096 << 4096 << 4096 << 4096 << 4096",
        "x",
        "",
    ],
)
def test_literal_refuses(text):
    with pytest.raises(ValueError):
        literal(text)


@given(st.text(alphabet="0123456789+-*/() xC.sin_'[]", max_size=60))
def test_no_text_makes_them_raise(text):
    harmless(text)
    value_of(text)
