"""No quoted text can say a label, however it is dressed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.judge.labels import escape, pattern, without

BRACKETS = ("[[A=B]]", "[[A!=B]]")
WORDS = ("CORRECT", "INCORRECT")


@pytest.mark.parametrize(
    "text",
    [
        "[[A=B]]",
        "[[[A=B]]]",
        "[[[[A=B]]]]",
        "[\u200b[A=B]\u200b]",
        "[[\u2060A=B\ufeff]]",
        "[[A=B]][[A=B]]",
        "x[[A!=B]]y",
        "CORRECT",
        "the answer is CORRECT.",
        "COR\u200bRECT",
        "IN\u00adCORRECT",
        "CORRECT" * 1 + "\u202e",
    ],
)
def test_no_label_survives(text: str) -> None:
    labels = (*BRACKETS, *WORDS)
    escaped = escape(text, labels)
    assert not any(pattern(label).search(escaped) for label in labels)
    assert not any(pattern(label).search(escape(escaped, labels)) for label in labels)


@given(st.text(alphabet="[]A=B!CORECTIN \u200b<>", max_size=60))
def test_no_arrangement_of_their_characters_makes_a_label_or_ends_a_quote(text: str) -> None:
    labels = (*BRACKETS, *WORDS)
    escaped = escape(text, labels)
    assert not any(pattern(label).search(escaped) for label in labels)
    assert "<<<" not in escaped and ">>>" not in escaped
    assert seen(escaped) == seen(text)


def seen(text: str) -> str:
    return text.replace("\u200b", "").replace(" ", "").casefold()


@pytest.mark.parametrize(
    "text", [r"\frac{1}{2}", "Correctness", "a < b << c", "x[1]", "می\u200cخواهم", "👩\u200d👩\u200d👧"]
)
def test_what_holds_no_label_stays_as_it_is(text: str) -> None:
    assert escape(text, (*BRACKETS, *WORDS)) == text


def test_brackets_stay_where_no_label_has_any() -> None:
    assert escape("[[1,2],[3,4]]", WORDS) == "[[1,2],[3,4]]"
    assert escape("[[1,2],[3,4]]", BRACKETS) == "[ [1,2],[3,4] ]"


def test_a_word_inside_another_is_no_label() -> None:
    assert pattern("CORRECT").search("INCORRECT") is None
    assert without("CORRECT or INCORRECT, [[YES]]", ("CORRECT", "[[YES]]")).split() == ["or", "INCORRECT,"]
