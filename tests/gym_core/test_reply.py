"""Which text of a rollout a verifier sees, and that thinking is never part of it."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.reply import Reply, ToolCall, message_text, read_reply, strip_thinking, text_output

plain = st.text(alphabet="abc5 \n", max_size=12)


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("plain", "plain"),
        ("<think>\\boxed{5}</think> 6", " 6"),
        ("a<think>x</think>b<think>y</think>c", "abc"),
        ("the prompt opened it</think>answer", "answer"),
        ("answer<think>never closed", "answer"),
        ("<think>never closed", ""),
        ("<think>a<think>b</think>c</think>d", "d"),
        ("x</think>y</think>z", "z"),
        ("<think>a</think>one<think>two", "one"),
        ("</think>", ""),
        ("", ""),
        ("I think> therefore", "I think> therefore"),
    ],
)
def test_thinking_is_cut(text: str, left: str) -> None:
    assert strip_thinking(text) == left


@given(st.lists(st.sampled_from(["<think>", "</think>", "SECRET", "word "]), max_size=8))
def test_nothing_between_tags_survives_and_cutting_twice_changes_nothing(parts: list[str]) -> None:
    left = strip_thinking("".join(parts))
    assert "<think>" not in left and "</think>" not in left
    assert strip_thinking(left) == left


@given(plain, plain, plain)
def test_what_stands_outside_of_one_block_survives(before: str, inside: str, after: str) -> None:
    assert strip_thinking(f"{before}<think>{inside}</think>{after}") == before + after


def message(*texts: str) -> dict[str, Any]:
    content = [{"type": "output_text", "text": text} for text in texts]
    return {"type": "message", "role": "assistant", "content": content}


def test_the_last_assistant_message_is_the_reply() -> None:
    items = [
        message("<think>hm</think>first"),
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "secret"}]},
        {"type": "function_call", "name": "add", "arguments": '{"n": 1}', "call_id": "c1"},
        {"type": "function_call_output", "call_id": "c1", "output": "1"},
        message("<think>hm</think>last", " words"),
    ]
    reply = read_reply(items)
    assert reply.text == "last words"
    assert reply.all_text == "firstlast words"
    assert reply.raw_text == "<think>hm</think>first<think>hm</think>last words"
    assert reply.last_raw_text == "<think>hm</think>last words"
    assert reply.tool_calls == (ToolCall("add", '{"n": 1}', "c1"),)
    assert reply.items is items


def test_other_peoples_messages_are_not_the_reply() -> None:
    assert read_reply([message("mine"), {"role": "user", "content": "yours"}]).text == "mine"
    assert read_reply([{"role": "assistant", "content": "plain"}]).text == "plain"


def test_nothing_to_read_is_an_empty_reply() -> None:
    for items in ([], [{}], [{"type": "message", "content": None}], [message()], [message(" \n")]):
        assert read_reply(items).empty


def test_content_of_any_shape_is_read_or_passed_over() -> None:
    parts = [
        {"type": "output_text", "text": "a"},
        {"type": "refusal", "refusal": "no"},
        "x",
        {"type": "text", "text": 3},
    ]
    assert message_text({"content": parts}) == "a"
    call = {"type": "function_call", "name": None, "arguments": {"n": 1}}
    assert read_reply([call]).tool_calls == (ToolCall("None", "{}", ""),)


@given(st.text(max_size=30))
def test_a_scripted_text_reads_back(text: str) -> None:
    reply = read_reply(text_output(text))
    assert reply.raw_text == text
    assert reply == Reply(strip_thinking(text), strip_thinking(text), text, text, (), reply.items)


@given(st.lists(st.sampled_from(["<think>", "</think>", "<thi", "nk>", "a", " "]), max_size=12).map("".join))
def test_pairs_go_first_then_what_was_never_opened_then_what_never_closed(text: str) -> None:
    wanted = re.sub(r"<think>.*?</think>", "", text, flags=re.DOTALL)
    wanted = wanted.rpartition("</think>")[2].partition("<think>")[0]
    assert strip_thinking(text) == (wanted if "think>" in text else text)


@pytest.mark.parametrize("text", ["<think>" * 200_000, "</think>" * 200_000, "<think></think>" * 100_000])
def test_a_megabyte_of_tags_is_read_in_no_time(text: str) -> None:
    began = time.process_time()
    assert strip_thinking(text) == ""
    assert time.process_time() - began < 1.0
