"""When outputs and returned values are the same, strictly and as published."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.code_tests.comparison import (
    same_output,
    same_output_published,
    same_value,
    same_value_published,
)


@pytest.mark.parametrize(
    ("expected", "output", "strict", "published"),
    [
        ("1 2\n3\n", "1 2\n3", True, True),
        ("1 2\n3", "  1 2  \r\n3\n\n", True, True),
        ("1 2\n3", "1 2 3", False, False),
        ("1\n2", "1\n\n2", False, False),
        ("1  2", "1 2", True, True),
        ("a  b", "a b", True, False),
        ("10", "1e1", True, True),
        ("10", "10.0", True, True),
        ("0.5", ".5", False, True),
        ("10", "1_0", False, True),
        ("7", "007", False, True),
        ("0101", "101", False, True),
        ("7", "7", True, True),
        ("7", "٧", False, True),
        ("NaN", "NaN", True, True),
        ("NaN", "nan", False, False),
        ("inf", "Infinity", False, True),
        ("1", "1 1", False, False),
        ("1 2", "2 1", False, False),
        ("YES", "yes", False, False),
        ("50000000000000000", "50000000000000001", False, False),
        ("0.3333333333", "0.333333", False, False),
        ("1", "sNaN", False, False),
        ("1", "", False, False),
        ("1", "1" * 20_000, False, False),
        ("1", "1e999999999", False, False),
    ],
)
def test_outputs(expected: str, output: str, strict: bool, published: bool) -> None:
    assert same_output(expected, output) is strict
    assert same_output_published(expected, output) is published


@pytest.mark.parametrize(
    ("expected", "given_", "strict", "published"),
    [
        ("1", "1", True, True),
        ("1", "1.0", True, True),
        ("1", "1.000001", False, True),
        ("1.0", "1.000001", True, True),
        ("1.0", "1.001", False, False),
        ("true", "1", False, True),
        ("1", "true", False, True),
        ("[1, 2]", "[1, 2]", True, True),
        ("[1, 2]", "[2, 1]", False, False),
        ("[1.0, 2.0]", "[1.0000001, 2]", True, True),
        ("[]", "[]", True, True),
        ("[]", "null", False, False),
        ("null", "null", True, True),
        ("null", "false", False, False),
        ('"a"', '"a"', True, True),
        ('{"1": 2}', '{"1": 2}', True, True),
        ('{"1": 2}', '{"1": 2, "3": 4}', False, False),
        ("1.0", "NaN", False, False),
        ("1.0", "Infinity", False, False),
        ("1.0", "1" + "0" * 400, False, False),
        ("123456789012345678", "123456789012345679", False, True),
    ],
)
def test_values(expected: str, given_: str, strict: bool, published: bool) -> None:
    assert same_value(json.loads(expected), json.loads(given_)) is strict
    assert same_value_published(json.loads(expected), json.loads(given_)) is published


@given(st.decimals(allow_nan=False, allow_infinity=False, places=6), st.integers(0, 5))
def test_a_number_written_longer_is_the_same_number(number: Decimal, zeros: int) -> None:
    text = f"{number:f}"
    assert same_output(text, text + "0" * zeros)
    assert same_output_published(text, text + "0" * zeros)


@given(st.lists(st.sampled_from(["1", "1.0", "01", "1e0", "a", "+1", "-0", "0", " ", "\n"])), st.data())
def test_strict_calls_the_same_only_what_is_word_by_word(words: list[str], data: st.DataObject) -> None:
    other = data.draw(st.permutations(words))
    a, b = " ".join(words), " ".join(other)
    if same_output(a, b):
        assert all(x == y or Decimal(x) == Decimal(y) for x, y in zip(a.split(), b.split(), strict=True))


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_json)
def test_every_value_is_itself(value: object) -> None:
    assert same_value(value, json.loads(json.dumps(value)))
    assert same_value_published(value, value)
