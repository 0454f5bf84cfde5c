"""The linear search finds what the public expression finds, and knows when that one would hang."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.calendar.first_list import MAX_STEPS, first_list

PUBLIC = re.compile(r"\[(?:[^\[\]]|\{[^}]*\})*\{(?:[^\[\]]|\{[^}]*\})*\}(?:[^\[\]]|\{[^}]*\})*\]", re.DOTALL)


@given(st.text(alphabet="[[]]{{}}a\n", max_size=18))
@settings(max_examples=600, deadline=None)
def test_it_agrees_with_the_public_expression(text):
    match = PUBLIC.search(text)
    assert first_list(text).found == (match and match.group())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("no list", None),
        ("[]", None),
        ("[1, 2]", None),
        ('say [{"a": 1}] or [{"b": 2}]', '[{"a": 1}]'),
        ("[[{}]]", "[{}]"),
        ("[{}] x {y] z}", "[{}]"),
        ("[{a]}]", None),
        ("[{a]},{}]", "[{a]},{}]"),
        ("[{\n}]", "[{\n}]"),
    ],
)
def test_what_is_found(text, found):
    assert first_list(text).found == found


def test_steps_grow_as_backtracking_does():
    """Each pair of braces multiplies the work of the public expression by about (1 + sqrt 5) / 2 squared less one."""
    few, more = (first_list("[" + "{}" * count).steps for count in (10, 20))
    assert 1000 < more / few < 10_000
    assert first_list("[" + "{}" * 16).steps < MAX_STEPS < first_list("[" + "{}" * 24).steps


@pytest.mark.parametrize("text", ["[" + "{}" * 50_000, "[" * 100_000, "[{" * 50_000, "{}]" * 30_000 + "["])
def test_long_hostile_texts_take_linear_time(text):
    began = time.process_time()
    assert first_list(text).found is None
    assert time.process_time() - began < 3.0
