"""Finished exact values: what is read, what is not, and what is the same."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.maths.grading import grade_strict
from environments.maths.surds import PI, exact_sum, latex_of, root

HALF = Fraction(1, 2)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r"\sqrt{5}", {5: 1}),
        (r"\sqrt{20}", {5: 2}),
        (r"2\sqrt5", {5: 2}),
        (r"2 \cdot \sqrt{5}", {5: 2}),
        (r"\frac{3+2\sqrt{5}}{4}", {1: Fraction(3, 4), 5: HALF}),
        (r"\frac{3}{4} + \frac{\sqrt{5}}{2}", {1: Fraction(3, 4), 5: HALF}),
        (r"(3+2\sqrt{5})/4", {1: Fraction(3, 4), 5: HALF}),
        (r"\sqrt{\frac{5}{4}}", {5: HALF}),
        (r"-\frac{\sqrt{5}}{2}", {5: -HALF}),
        (r"\frac{-\sqrt{5}}{2}", {5: -HALF}),
        (r"\frac{9\pi}{2}", {PI: Fraction(9, 2)}),
        (r"\frac{9}{2}\pi", {PI: Fraction(9, 2)}),
        ("4.5π", {PI: Fraction(9, 2)}),
        (r"9\pi/2", {PI: Fraction(9, 2)}),
        (r"\left(3+\sqrt{5}\right)/2", {1: Fraction(3, 2), 5: HALF}),
        (r"\sqrt{9}", {1: 3}),
        (r"1+\sqrt{2}-1", {2: 1}),
        ("7", {1: 7}),
        ("0", {}),
        (r"\sqrt{0}", {}),
        # what is not finished, or nothing at all
        (r"\sqrt{3^2+4^2}", None),
        (r"\sqrt{1+4}", None),
        (r"2\cdot3\sqrt{5}", None),
        (r"\sqrt{\sqrt{16}}", None),
        (r"\sqrt[3]{8}", None),
        (r"\frac{\sqrt{5}}{\sqrt{2}}", None),
        (r"\frac{1}{0}", None),
        (r"\sqrt{5}/0", None),
        (r"\frac{\sqrt{5}}{0}", None),
        (r"\sqrt{99999999999999}", None),
        (r"\pi^2", None),
        ("x", None),
        ("", None),
        ("+", None),
        (r"3\sqrt{5}3", None),
        (r"\sqrt{5}\sqrt{5}", None),
    ],
)
def test_exact_sum(text, value):
    assert exact_sum(text) == value


@given(st.text(alphabet=r"0123456789+-/(){}\sqrtfracpi. ", max_size=40))
def test_no_text_makes_it_raise(text):
    exact_sum(text)


@given(
    st.dictionaries(
        st.sampled_from([PI, 1, 2, 3, 5, 6, 7, 30]),
        st.fractions(min_value=-50, max_value=50, max_denominator=40).filter(bool),
        max_size=3,
    )
)
def test_what_is_written_is_read_again(value):
    assert exact_sum(latex_of(value)) == value


@given(st.fractions(min_value=0, max_value=1000, max_denominator=30))
def test_a_root_squares_back(number):
    found = root(number)
    assert sum(amount**2 * unit for unit, amount in found.items()) == number


@pytest.mark.parametrize(
    ("gold", "answer", "reward"),
    [
        (r"2\sqrt{5}", r"\sqrt{20}", 1.0),
        (r"2\sqrt{5}", r"d = 2\sqrt{5}", 1.0),
        (r"2\sqrt{5}", r"\sqrt{(1-3)^2+(5-1)^2}", 0.0),
        (r"2\sqrt{5}", r"\sqrt{4+16}", 0.0),
        (r"2\sqrt{5}", "4.472136", 0.0),
        (r"2\sqrt{5}", r"2\sqrt{5} \text{ or } 3", 0.0),
        (r"2\sqrt{5}", r"\pm 2\sqrt{5}", 0.0),
        (r"\frac{55\pi}{18}", r"\frac{275}{360}\cdot\pi\cdot 2^2", 0.0),
        (r"\frac{55\pi}{18}", r"\frac{55}{18}\pi", 1.0),
        (r"\frac{-4+\sqrt{26}}{2}", r"-2+\frac{\sqrt{26}}{2}", 1.0),
        (r"\frac{-4+\sqrt{26}}{2}", r"\frac{-4-\sqrt{26}}{2}", 0.0),
    ],
)
def test_a_generated_root_must_be_finished(gold, answer, reward):
    assert grade_strict(gold, f"\\boxed{{{answer}}}", plain_only=True)[0] == reward
