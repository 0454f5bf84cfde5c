"""What was said becomes parts with plain text, whatever shape it has."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import message

from palaestra.dashboard.conversation import cut, last_words, parts_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def kinds(output: list[Any], row: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    return [(part.kind, part.text) for part in parts_of(output, row)]


def test_a_conversation_with_prompt_thinking_and_tools() -> None:
    row = {"responses_create_params": {"instructions": "be brief", "input": "2+2?"}}
    output = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "add"}]},
        {"type": "function_call", "name": "add", "arguments": '{"a":2}', "call_id": "c1"},
        {"type": "function_call_output", "call_id": "c1", "output": "4"},
        message("<think>so four</think>It is 4."),
    ]
    assert kinds(output, row) == [
        ("system", "be brief"),
        ("user", "2+2?"),
        ("think", "add"),
        ("call", '{"a":2}'),
        ("tool", "4"),
        ("think", "so four"),
        ("assistant", "It is 4."),
    ]
    parts = parts_of(output, row)
    assert [part.prompt for part in parts] == [True, True, False, False, False, False, False]
    assert (parts[3].title, parts[3].call_id, parts[4].call_id) == ("add", "c1", "c1")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", [("assistant", "plain")]),
        ("", [("assistant", "")]),
        ("opened before</think>said", [("think", "opened before"), ("assistant", "said")]),
        ("said<think>never closed", [("assistant", "said"), ("think", "never closed")]),
        (
            "<think>a</think>b<think>c</think>d",
            [("think", "a"), ("assistant", "b"), ("think", "c"), ("assistant", "d")],
        ),
    ],
)
def test_thinking_stands_apart(text: str, expected: list[tuple[str, str]]) -> None:
    assert kinds([message(text)]) == expected


def test_roles_of_a_dialogue() -> None:
    row = {"responses_create_params": {"input": [message("s", "developer"), message("u", "user"), message("x", "npc")]}}
    assert [(part.kind, part.title) for part in parts_of([], row)] == [("system", ""), ("user", ""), ("other", "npc")]


@pytest.mark.parametrize(
    "item",
    [None, 3, "text", [], {}, {"type": 7}, {"type": "message", "content": 5}, {"type": "message", "content": [None]},
     {"type": "function_call", "name": {"a": 1}, "arguments": [1]}, {"type": "reasoning", "content": "x"}],
)  # fmt: skip
def test_odd_items_are_shown_not_lost(item: Any) -> None:
    parts = parts_of([item, message("after")])
    assert parts[-1].text == "after" and all(isinstance(part.text, str) for part in parts)


@settings(deadline=None, max_examples=50)
@given(st.lists(JSON, max_size=4), st.none() | st.dictionaries(st.just("responses_create_params"), JSON))
def test_no_shape_breaks_it(output: list[Any], row: dict[str, Any] | None) -> None:
    for part in parts_of(output, row):
        assert isinstance(part.text, str) and part.length == len(part.text)
    assert isinstance(last_words(output), str)


def test_long_texts_are_cut_and_say_how_long_they_were() -> None:
    (part,) = cut(parts_of([message("x" * 100)]), limit=10)
    assert (part.text, part.length) == ("x" * 10, 100)


def test_last_words() -> None:
    call = {"type": "function_call", "name": "add", "arguments": "{}"}
    assert last_words([message("first"), {"type": "function_call_output", "output": "tool text"}]) == "first"
    assert last_words([message("first"), call]) == "add {}"
    assert last_words([message("two\n lines ")]) == "two lines"
    assert last_words([]) == ""
