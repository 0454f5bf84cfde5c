"""Exactly one answer in the box."""

from fractions import Fraction

import pytest

from environments.maths.boxed import last_boxed
from environments.maths.exact import plain_number, tidy
from environments.maths.magnitude import digits, monstrous
from environments.maths.shape import candidate, sides


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{\frac{1}{2}} and \boxed{\sqrt{\frac{1}{2}}}", r"\sqrt{\frac{1}{2}}"),
        (r"\boxed {7}", "7"),
        (r"\boxed{\{1\}}", r"\{1\}"),
        (r"\boxed{\boxed{5}}", "5"),
        (r"\boxed{5} \boxed{6", None),
        ("boxed{5}", None),
        ("", None),
    ],
)
def test_last_boxed(text, content):
    assert last_boxed(text) == content


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", Fraction(5)),
        ("-0", Fraction(0)),
        ("−1,234.50", Fraction(-2469, 2)),
        (r"\dfrac{3}{4}", Fraction(3, 4)),
        (r"-\frac34", Fraction(-3, 4)),
        ("7/2", Fraction(7, 2)),
        (r"1\frac{1}{2}", Fraction(3, 2)),
        (r"3 \times 10^{-2}", Fraction(3, 100)),
        ("$5$.", Fraction(5)),
        ("1,23", None),
        ("1/0", None),
        ("5 6", None),
        ("x", None),
        ("٣", None),
        ("1e5", None),
        (r"10\times10^{9999}", None),
    ],
)
def test_plain_number(text, value):
    assert plain_number(tidy(text)) == value


def test_digits_bounds_the_digits_of_the_value():
    assert 10 <= digits("2^{32}") < 100
    assert digits("100!") >= 158  # 100! has 158 digits
    assert digits("9^{9^9}") >= 369_693_099  # 9^(9^9) has 369,693,100 digits
    assert digits("x^2 + 3x + 2") < 10


@pytest.mark.parametrize(
    "text", ["9^{9^{9^9}}", "9^9^9^9", "5!!!!", "(9^{99999})^{99999}", r"\binom{999999}{5}", "(" * 40, "1+" * 600]
)
def test_monsters_are_refused_unread(text):
    assert monstrous(text)


@pytest.mark.parametrize(
    "text", [r"\frac{(3-\sqrt{3})(2-\sqrt{3})^{2016}}{6}", "2^{1000}", "x^{y^z}", "e^{x^2}", "20!"]
)
def test_ordinary_answers_are_no_monsters(text):
    assert monstrous(text) == ""


def test_sides_look_at_equals_signs_outside_brackets_only():
    assert sides("a = b = c") == ["a", "b", "c"]
    assert sides("f(x=1)") == ["f(x=1)"]
    assert sides(r"x \leq 3") == [r"x \leq 3"]
    assert sides("x <= 3") == ["x <= 3"]


@pytest.mark.parametrize(
    ("gold", "answer", "kept"),
    [
        ("5", "x = 5", "5"),
        (r"\sqrt{2}", r"AP = \sqrt{2}", r"\sqrt{2}"),
        ("5", "6 = 5", ""),
        ("5", "x = y = 5", ""),
        ("y=2x", "y=2x", "y=2x"),
        ("5", "4, 5", ""),
        ("5", r"5 \text{ or } 6", ""),
        ("1,2", "2,1", "2,1"),
        ("(1,2)", r"\{1,2\}", ""),
        ("3 cm", "3 cm", "3 cm"),
        ("5", "2+3", ""),
        ("5", r"2\cdot3", ""),
        ("1+x", "x+1", "x+1"),
        ("x>3", r"(3,\infty)", r"(3,\infty)"),
    ],
)
def test_candidate(gold, answer, kept):
    assert candidate(gold, answer, plain_only=False)[0] == kept


def test_a_generated_number_must_be_finished():
    assert candidate("1024", "2^{10}", plain_only=False)[0] == "2^{10}"
    assert candidate("1024", "2^{10}", plain_only=True)[0] == ""
    assert candidate("3", r"3\text{ pens}", plain_only=True)[0] == r"3\text{ pens}"


@pytest.mark.parametrize(
    ("gold", "answer", "refused"),
    [
        ("10 cm", "10 m", "another unit"),
        ("10 cm", "10 cm", ""),
        ("10 cm", "10", ""),
        ("10", "10 cm", ""),
        ("10\\,km", "10 miles", "another unit"),
        ("3 hours", "3 hour", ""),
        ("5 m/s", "5 m", "another unit"),
        ("5x", "5y", ""),  # letters that are no units are left to Math-Verify
    ],
)
def test_bare_units_must_agree_where_both_have_one(gold: str, answer: str, refused: str) -> None:
    assert candidate(gold, answer, plain_only=False)[1] == refused
