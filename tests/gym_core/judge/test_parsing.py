"""Which label counts is the protocol's choice; what holds none is None."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.judge.parsing import first_label, json_object, last_label, last_line, only_label

EQUAL = {"[[A=B]]": True, "[[A!=B]]": False}
WORDS = {"CORRECT": True, "INCORRECT": False}
YES = {"[[YES]]": True, "[[NO]]": False}


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("[[A=B]]", True, True),
        ("My verdict: [[A!=B]]", False, False),
        ("[[A=B]] no, [[A!=B]]", True, False),
        ("[[A!=B]] no, [[A=B]]", False, True),
        ("[[a=b]]", None, None),
        ("[[A = B]]", None, None),
        ("A=B", None, None),
        ("", None, None),
    ],
)
def test_labels_in_brackets(text: str, first: bool | None, last: bool | None) -> None:
    assert first_label(EQUAL)(text) is first
    assert last_label(EQUAL)(text) is last


@pytest.mark.parametrize(
    ("text", "ruling"),
    [
        ("CORRECT", True),
        ("INCORRECT", False),
        ("INCORRECT, not CORRECT", False),
        ("CORRECT, not INCORRECT", True),
        ("**CORRECT**", True),
        ("correct", None),
        ("CORRECTLY", None),
    ],
)
def test_one_word_inside_the_other_is_told_apart(text: str, ruling: bool | None) -> None:
    assert first_label(WORDS)(text) is ruling


@pytest.mark.parametrize(
    ("text", "ruling"), [("CORRECT", True), (" INCORRECT.\n", False), ("It is CORRECT", None), ("CORRECT.. ", None)]
)
def test_a_reply_that_must_be_the_word_alone(text: str, ruling: bool | None) -> None:
    assert only_label(WORDS)(text) is ruling


@pytest.mark.parametrize(
    ("text", "ruling"),
    [
        ("[[YES]] then\nNO", True),
        ("reasons\nYES", True),
        ("YES\nreasons\nNO\n\n", False),
        ("YES\nreasons", None),
        ("", None),
    ],
)
def test_the_last_line_counts_where_there_is_no_label(text: str, ruling: bool | None) -> None:
    assert last_line({"YES": True, "NO": False}, fallback=last_label(YES))(text) is ruling


def score(given: dict[str, Any]) -> int | None:
    value = given.get("score")
    return value if isinstance(value, int) and 1 <= value <= 5 else None


@pytest.mark.parametrize(
    ("text", "ruling"),
    [
        ('{"score": 3}', 3),
        ('Well.\n```json\n{"score": 4, "why": "a } in { text"}\n```\nDone.', 4),
        ('{"score": 1} or rather {"score": 2}', 2),
        ('{"score": 2} {"score": 100}', 2),
        ('{"score": NaN}', None),
        ('{"outer": {"score": 5}}', None),
        ('{ {"score": 5}', 5),
        ("{" * 50_000, None),
        ("no json", None),
    ],
)
def test_json(text: str, ruling: int | None) -> None:
    assert json_object(score)(text) == ruling


@given(st.text(max_size=200))
def test_no_text_makes_a_parser_raise(text: str) -> None:
    for parse in (first_label(EQUAL), last_label(YES), only_label(WORDS), last_line(WORDS), json_object(score)):
        parse(text)
