"""Responses items to chat messages: turns, instructions, and errors that name the item."""

import json

import pytest

from model.chat import render
from model.responses import messages_from_responses, tools_from_responses

CALL = {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}
OUTPUT = {"type": "function_call_output", "call_id": "c1", "output": "42"}
CHAT_CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


def said(text):
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def thought(text):
    return {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": text}]}


def test_a_string_is_a_user_message():
    assert messages_from_responses("hi") == [{"role": "user", "content": "hi"}]


def test_reasoning_message_and_calls_of_one_turn_become_one_message():
    items = [{"role": "user", "content": "q"}, thought("hm"), said("let me"), CALL, {**CALL, "call_id": "c2"}, OUTPUT]
    turn = {
        "role": "assistant",
        "content": "let me",
        "reasoning_content": "hm",
        "tool_calls": [CHAT_CALL, {**CHAT_CALL, "id": "c2"}],
    }
    assert messages_from_responses(items) == [
        {"role": "user", "content": "q"},
        turn,
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]


def test_a_tool_result_or_a_second_message_begins_another_turn():
    roles = [m["role"] for m in messages_from_responses([CALL, OUTPUT, thought("so"), said("done"), said("more")])]
    assert roles == ["assistant", "tool", "assistant", "assistant"]
    two = messages_from_responses([thought("a"), said("b"), thought("c"), said("d")])
    assert [(m["reasoning_content"], m["content"]) for m in two] == [("a", "b"), ("c", "d")]


def test_full_reasoning_is_preferred_to_its_summary():
    item = {**thought("short"), "content": [{"type": "reasoning_text", "text": "long"}]}
    assert messages_from_responses([item])[0]["reasoning_content"] == "long"


def test_instructions_go_before_the_first_system_message():
    user = {"role": "user", "content": "q"}
    assert messages_from_responses([user], "Be brief.")[0] == {"role": "system", "content": "Be brief."}
    merged = messages_from_responses([{"role": "developer", "content": "Rhyme.\n"}, user], "Be brief.")
    assert merged == [{"role": "system", "content": "Be brief.\n\nRhyme.\n"}, user]


def test_parts_and_refusals_are_text():
    parts = [{"type": "input_text", "text": "a"}, {"type": "refusal", "refusal": "no"}]
    assert messages_from_responses([{"role": "user", "content": parts}])[0]["content"] == "ano"


def test_token_bundles_on_items_are_ignored():
    assert messages_from_responses([{**said("a"), "prompt_token_ids": [1], "generation_log_probs": [0.0]}]) == [
        {"role": "assistant", "content": "a"}
    ]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ("text", r"input\[1\] must be an object, not str"),
        ({}, r"input\[1\]\.type is None"),
        ({"type": "item_reference", "id": "x"}, r"input\[1\]\.type is 'item_reference'"),
        ({"role": "tool", "content": "x"}, r"input\[1\]\.role is 'tool'"),
        ({"role": "user"}, r"input\[1\]\.content is missing"),
        ({"role": "user", "content": 5}, r"input\[1\]\.content must be a string or a list of parts, not int"),
        ({"role": "user", "content": [{"type": "input_image"}]}, r"input\[1\]\.content\[0\] is a 'input_image' part"),
        ({"role": "user", "content": [7]}, r"input\[1\]\.content\[0\] is a 'int' part"),
        ({**CALL, "name": None}, r"input\[1\]\.name must be a string, not NoneType"),
        ({**CALL, "arguments": {}}, r"input\[1\]\.arguments must be a string, not dict"),
        (OUTPUT, r"input\[1\]\.call_id 'c1' answers no function_call"),
        ({"type": "reasoning", "summary": "x"}, r"input\[1\]\.summary must be a list"),
    ],
)
def test_a_malformed_item_is_named(item, message):
    with pytest.raises(ValueError, match=message):
        messages_from_responses([{"role": "user", "content": "q"}, item])


def test_a_missing_tool_result_is_named():
    with pytest.raises(ValueError, match=r"input\[1\]\.output is missing"):
        messages_from_responses([CALL, {**OUTPUT, "output": None}])


def test_input_of_another_type_is_refused():
    with pytest.raises(ValueError, match="input must be a string or a list"):
        messages_from_responses(7)


def test_flat_and_nested_tools_become_the_same():
    function = {"name": "f", "description": "d", "parameters": {"type": "object"}}
    nested = {"type": "function", "function": function}
    assert tools_from_responses([{"type": "function", **function, "strict": True}, nested]) == [nested, nested]
    assert tools_from_responses(None) == []


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ({"type": "web_search"}, r"tools\[0\] is a 'web_search'"),
        ("f", r"tools\[0\] is a 'str'"),
        ({"type": "function"}, r"tools\[0\]\.name must be a string"),
        ({"type": "function", "function": []}, r"tools\[0\]\.function must be an object, not list"),
        ({"type": "function", "name": "f", "parameters": "x"}, r"tools\[0\]\.parameters must be a JSON Schema"),
    ],
)
def test_a_malformed_tool_is_named(tool, message):
    with pytest.raises(ValueError, match=message):
        tools_from_responses([tool])


def test_every_published_row_renders(published_rows):
    num_rendered = 0
    for file in sorted(published_rows.glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            params = json.loads(line)["responses_create_params"]
            messages = messages_from_responses(params["input"], params.get("instructions"))
            text = render(messages, params.get("tools")).text
            assert text.endswith("<|im_start|>assistant\n<think>\n"), file.name
            num_rendered += 1
    assert num_rendered > 0
