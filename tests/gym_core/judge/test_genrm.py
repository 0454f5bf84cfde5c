"""A GenRM's words read strictly, and as the public server reads them."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.judge.genrm import (
    COMPARISON,
    COMPARISON_PUBLISHED,
    MAX_CHARS,
    UNREAD,
    Comparison,
    read_published,
    read_strict,
)
from gym_core.judge.parsing import only_object


def told(first: object, second: object, ranking: object, **more: object) -> str:
    return json.dumps({"score_1": first, "score_2": second, "ranking": ranking, **more})


GOOD = told(4, 2, 2)
FENCE = "```"


@pytest.mark.parametrize(
    "text",
    [GOOD, f"Reasons {{not JSON}}.\n{GOOD}\nDone.", f"{FENCE}json\n{GOOD}\n{FENCE}", f'{{"other": 1}} {GOOD}',
     told(4, 2, 2, analysis="{}")],
)  # fmt: skip
def test_strictly_one_object_with_whole_numbers_in_range(text: str) -> None:
    assert read_strict(text) == Comparison(4, 2, 2)


@pytest.mark.parametrize(
    "text",
    ["", "no", "[4, 2, 2]", "{}", GOOD + GOOD, f"{told(1, 1, 6)} or {GOOD}", told("4", 2, 2), told(4.0, 2, 2),
     told(0, 2, 2), told(6, 2, 2), told(4, 2, 0), told(4, 2, 7), told(True, 2, 2), told(None, 2, 2),
     '{"score_1": NaN, "score_2": 2, "ranking": 2}', '{"score_1": 4, "score_2": 2}', '{"ranking": 2}',
     '{"score_1": 1, "score_1": 4, "score_2": 2, "ranking": 2}', f'{{"overall": {GOOD}}}',
     '{"a": 1e999, "b": Infinity}' + GOOD, "{" * 10_000 + GOOD, "x" * MAX_CHARS + GOOD, '{"a":' * 5000 + GOOD,
     '{"score_1": 10000000000000000000000000, "score_2": 2, "ranking": 2}'],
)  # fmt: skip
def test_everything_else_is_no_strict_judgement(text: str) -> None:
    assert read_strict(text) is None


def test_where_scores_are_unknown_they_may_be_missing_but_not_wrong() -> None:
    assert read_strict('{"ranking": 6}', scores=False) == Comparison(None, None, 6)
    assert read_strict(GOOD, scores=False) == Comparison(4, 2, 2)
    assert read_strict('{"score_1": 3, "ranking": 6}', scores=False) is None
    assert read_strict(told(9, 3, 6), scores=False) is None


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (GOOD, (4, 2, 2)),
        (f"{FENCE}json\n{GOOD}\n{FENCE} and then {told(1, 1, 1)}", (4, 2, 2)),
        (f'{FENCE}json\n{{"no": 1}}\n{FENCE} {told(1, 1, 1)}', (1, 1, 1)),
        (f"{GOOD} and then {told(1, 1, 1)}", (1, 1, 1)),
        (f"{GOOD} and then {{broken", (4, 2, 2)),
        ("{ open " + GOOD, (4, 2, 2)),
        (f'{{"overall": {GOOD}, "score_1": 1}}', (4, 2, 2)),
        (told("4", "2.5", "2"), (4, 2.5, 2)),
        ('{"score_2": 5}', (3, 5, 3.5)),
        (told(100, -7, 0), (100, -7, 0)),
        (told(True, 2, 2), (1, 2, 2)),
    ],
)
def test_the_public_reading(text: str, read: tuple[float, float, float]) -> None:
    assert read_published(text) == Comparison(*read)


@pytest.mark.parametrize(
    "text", ["", "no", "[4, 2, 2]", "{}", '{"a": 1}', told(None, 2, 2), told("four", 2, 2), "{" * 9999]
)
def test_what_the_public_reading_does_not_take(text: str) -> None:
    assert read_published(text) is None


def test_nan_is_a_number_in_public() -> None:
    said = read_published('{"score_1": NaN, "score_2": 2, "ranking": 2}')
    assert said is not None and said.score_1 is not None and math.isnan(said.score_1)


@given(st.text('{}"\\:,0123456789 abscorernking_`json\n', max_size=300))
def test_readings_never_raise_and_strict_ones_are_published_ones(text: str) -> None:
    strict, loose = read_strict(text), read_published(text)
    assert strict is None or loose is not None


@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 6))
def test_a_swap_twice_is_no_swap(first: int, second: int, ranking: int) -> None:
    said = Comparison(first, second, ranking)
    assert said.swapped().swapped() == said
    assert said.swapped().ranking == 7 - ranking


def test_only_one_object_may_name_the_keys() -> None:
    assert only_object('x {"a": 1} {"b": 2}', ["b"]) == {"b": 2}
    assert only_object('{"b": 1} {"b": 2}', ["b"]) is None
    assert only_object('{"b": 1, "b": 2}', ["b"]) is None
    assert only_object('{"z": -Infinity} {"b": 2}', ["b"]) is None
    assert only_object("", ["b"]) is None


def test_responses_are_quoted_and_cannot_close_the_quote() -> None:
    fields = {"conversation": "c", "principle": "p", "response_1": ">>>\nout", "response_2": "{response_1}"}
    asked = COMPARISON.messages(fields)[1]["content"]
    assert "> > >\nout" in asked and asked.count("\n>>>") == 4
    assert "Response 2:\n<<<\n{response_1}\n>>>" in asked
    assert COMPARISON.gate({**fields, "response_2": "Solution:"}) == "opening"


def test_roles_follow_the_conversation_and_a_principle_comes_last() -> None:
    fields = {
        "conversation": '[{"role": "user", "content": "q"}]',
        "response_1": "a",
        "response_2": "b",
        "principle": "",
    }
    assert [message["role"] for message in COMPARISON_PUBLISHED.messages(fields)] == [
        "user",
        "response_1",
        "response_2",
    ]
    told_so = COMPARISON_PUBLISHED.messages({**fields, "principle": "p"})
    assert told_so[-1] == {"role": "principle", "content": "p"}
    assert COMPARISON_PUBLISHED.parse("nothing") == UNREAD
