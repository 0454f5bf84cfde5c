"""Replies taken apart: what the template writes is read back, anything else is reported and nothing raises."""

import itertools
import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.chat import demonstration, messages_from_responses
from model.parsers import ParsedReply, ParsedToolCall, output_items, parse_reply, reply_spans

UNHURRIED = settings(deadline=None)  # the machine may be busy

TOOLS = [{"type": "function", "name": "add", "parameters": {"properties": {"a": {"type": "integer"}}}}]
ADD = "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>"
FRAGMENTS = [
    *("<think>", "</think>", "<tool_call>", "</tool_call>", "<function=f>", "</function>", "<parameter=a>"),
    *("</parameter>", "\n", " ", "x", "<", ">", "<function=", "<parameter=", "1", "{", "[", '"', "é", "\ud800"),
]
HOSTILE = st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=3), max_size=40).map("".join)


def ids():
    counter = itertools.count()
    return lambda prefix: f"{prefix}_{next(counter)}"


def test_reasoning_that_the_prompt_opened_ends_at_the_tag():
    assert parse_reply("hm\nso\n</think>\nYes.", thinking_open=True) == ParsedReply("hm\nso", "Yes.")


def test_an_unfinished_thought_is_no_answer():
    assert parse_reply("I would say 42", thinking_open=True) == ParsedReply("I would say 42", "")
    assert parse_reply("42 <think>or not", thinking_open=False) == ParsedReply("or not", "42 ")


def test_a_repeated_opening_tag_is_taken_as_one():
    assert parse_reply("<think>\nhm\n</think>\nYes", thinking_open=True) == ParsedReply("hm", "Yes")


def test_later_thoughts_are_kept_from_the_answer():
    reply = parse_reply("a</think>x<think>b</think>y", thinking_open=True)
    assert (reply.reasoning, reply.content) == ("a\nb", "xy")


def test_plain_text_is_the_answer_with_its_indentation():
    assert parse_reply("\n    return 1\n", thinking_open=False) == ParsedReply("", "    return 1")


def test_a_call_is_read_with_declared_types():
    reply = parse_reply(f"hm\n</think>\nAdding.\n{ADD}\n", True, TOOLS)
    assert reply == ParsedReply("hm", "Adding.", [ParsedToolCall("add", '{"a": 1}', ADD)])


def test_without_tools_all_values_are_strings():
    assert parse_reply(ADD, False).tool_calls[0].arguments == '{"a": "1"}'


def test_tools_may_be_nested():
    nested = [{"type": "function", "function": TOOLS[0]}]
    assert parse_reply(ADD, False, nested).tool_calls[0].arguments == '{"a": 1}'


def test_several_calls_keep_their_order_and_leave_no_content():
    reply = parse_reply(ADD + "\n" + ADD.replace("add", "sub").replace("1", "2") + "\n", False)
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("add", '{"a": "1"}'), ("sub", '{"a": "2"}')]
    assert reply.content == ""


def test_a_call_inside_a_thought_is_not_made():
    reply = parse_reply(f"{ADD}</think>no", True)
    assert reply.tool_calls == []
    assert reply.reasoning == ADD


def test_think_tags_inside_an_argument_belong_to_it():
    reply = parse_reply(ADD.replace("1", "<think>x</think>"), False)
    assert json.loads(reply.tool_calls[0].arguments) == {"a": "<think>x</think>"}
    assert reply.reasoning == ""


def test_compact_and_empty_forms_are_read():
    compact = "<tool_call><function=f><parameter=a>1</parameter><parameter=b>\n</parameter></function></tool_call>"
    assert parse_reply(compact, False).tool_calls[0].arguments == '{"a": "1", "b": ""}'
    assert parse_reply("<tool_call>\n<function=f>\n</function>\n</tool_call>", False).tool_calls[0].arguments == "{}"


def test_a_value_may_hold_the_closing_tag_of_a_parameter():
    reply = parse_reply(ADD.replace("1", "<x>\n</parameter>\n</x>"), False)
    assert json.loads(reply.tool_calls[0].arguments) == {"a": "<x>\n</parameter>\n</x>"}


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("<tool_call>\n<function=f>\n</function>", "no </tool_call>"),
        ("<tool_call>\n{}\n</tool_call>", "no <function=NAME>"),
        ("<tool_call>\n<function=>\n</function>\n</tool_call>", "no <function=NAME>"),
        ("<tool_call>\n<function= >\n</function>\n</tool_call>", "no <function=NAME>"),
        ("<tool_call>\n<function=f>\n</tool_call>", "unexpected text"),
        ("<tool_call>\n<function=f>\nnote\n</function>\n</tool_call>", "unexpected text"),
        ("<tool_call>\n<function=f>\n</function>\nmore\n</tool_call>", "unexpected text"),
        ("<tool_call>\n<function=f>\n<parameter=a>\n1\n</function>\n</tool_call>", "parameter a does not end"),
        (ADD.replace("</function>", "<parameter=a>\n2\n</parameter>\n</function>"), "parameter a is given twice"),
        (f"<tool_call>\n{ADD}", "no <function=NAME>"),
    ],
)
def test_a_malformed_call_is_reported_and_stays_in_the_answer(block, reason):
    reply = parse_reply(f"Try: {block}", False)
    assert reply.tool_calls == []
    assert reply.content == f"Try: {block}"
    assert len(reply.malformed) == 1
    assert reply.malformed[0].startswith(reason)


def test_a_good_call_beside_a_malformed_one_is_made():
    reply = parse_reply(f"<tool_call>?</tool_call>\n{ADD}", False)
    assert [call.name for call in reply.tool_calls] == ["add"]
    assert reply.content == "<tool_call>?</tool_call>"


@UNHURRIED
@given(HOSTILE, st.booleans(), st.sampled_from([None, TOOLS]))
def test_no_text_raises_and_arguments_are_always_objects(text, thinking_open, tools):
    reply = parse_reply(text, thinking_open, tools)
    assert all(isinstance(json.loads(call.arguments), dict) for call in reply.tool_calls)
    assert all(call.raw in text for call in reply.tool_calls)
    if thinking_open and "</think>" not in text:
        assert reply.content == ""


SAFE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="<>"))
NAMES = st.from_regex(r"[a-z_][a-z0-9_.-]{0,12}", fullmatch=True)
VALUES = st.recursive(
    SAFE | st.integers() | st.booleans() | st.none() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(SAFE, inner, max_size=3),
)
TYPE_NAMES = {str: "string", int: "integer", bool: "boolean", type(None): "null", float: "number"}


@UNHURRIED
@given(st.dictionaries(NAMES, VALUES, max_size=4), NAMES)
def test_arguments_the_template_writes_are_read_back(arguments, name):
    types = {key: TYPE_NAMES.get(type(value), type(value).__name__) for key, value in arguments.items()}
    fields = {key: {"type": {"list": "array", "dict": "object"}.get(kind, kind)} for key, kind in types.items()}
    tool = {"type": "function", "name": name, "parameters": {"properties": fields}}
    call = {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": arguments}}]}
    _, reply = demonstration([{"role": "user", "content": "q"}, call], [tool], enable_thinking=False)
    parsed = parse_reply(reply.text.removesuffix("<|im_end|>"), False, [tool])
    assert [(call.name, json.loads(call.arguments)) for call in parsed.tool_calls] == [(name, arguments)]
    assert (parsed.reasoning, parsed.content, parsed.malformed) == ("", "", [])


@UNHURRIED
@given(SAFE.filter(str.strip), SAFE)
def test_reasoning_and_answer_the_template_writes_are_read_back(reasoning, answer):
    message = {"role": "assistant", "content": answer, "reasoning_content": reasoning}
    _, reply = demonstration([{"role": "user", "content": "q"}, message])
    parsed = parse_reply(reply.text.removesuffix("<|im_end|>"), True)
    assert parsed.reasoning == reasoning
    assert parsed.content == answer.rstrip().strip("\n")


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_parsing_is_linear(fragment):
    def seconds(repeats):
        text = "<tool_call><function=f><parameter=a>" + fragment * repeats
        start = time.process_time()
        for prefix in ("", "</tool_call>"):
            parse_reply(text + prefix, False, TOOLS)
        return time.process_time() - start

    # A quadratic parse of 200,000 repeats takes minutes; a linear one a fraction of a second.
    assert seconds(200_000) < 5


THINK, END_THINK, CALL, END_CALL = 12, 13, 14, 15


@pytest.mark.parametrize(
    ("tokens", "thinking_open", "spans"),
    [
        ([], True, []),
        ([50, 51], False, [("answer", 0, 2)]),
        ([50, 51], True, [("think", 0, 2)]),
        ([50, END_THINK, 51, 11], True, [("think", 0, 2), ("answer", 2, 4)]),
        ([THINK, 50, END_THINK, 51], False, [("think", 0, 3), ("answer", 3, 4)]),
        ([END_THINK, CALL, 50, END_CALL, 11], True, [("think", 0, 1), ("tool_call", 1, 4), ("answer", 4, 5)]),
        ([CALL, THINK, END_THINK, END_CALL], False, [("tool_call", 0, 4)]),
        ([CALL, END_CALL, END_THINK], True, [("think", 0, 3)]),
        ([CALL, 50], False, [("tool_call", 0, 2)]),
        ([END_CALL, END_THINK], False, [("answer", 0, 2)]),
    ],
)
def test_spans_by_hand(tokens, thinking_open, spans):
    assert reply_spans(tokens, thinking_open) == spans


@UNHURRIED
@given(st.lists(st.integers(10, 20)), st.booleans())
def test_spans_cover_every_token_once(tokens, thinking_open):
    spans = reply_spans(tokens, thinking_open)
    assert [i for _, start, end in spans for i in range(start, end)] == list(range(len(tokens)))


@UNHURRIED
@given(st.lists(st.sampled_from([12, 13, 14, 15, 50])), st.booleans())
def test_spans_agree_with_the_parsed_text(tokens, thinking_open):
    names = {12: "<think>", 13: "</think>", 14: "<tool_call>", 15: "</tool_call>", 50: "x"}
    text = "".join(names[token] for token in tokens)
    reply = parse_reply(text, thinking_open)
    thought = sum(
        tokens[start:end].count(50) for kind, start, end in reply_spans(tokens, thinking_open) if kind == "think"
    )
    assert reply.reasoning.count("x") == thought


def test_output_items_in_the_order_of_the_reply():
    parsed = ParsedReply("hm", "Adding.", [ParsedToolCall("add", '{"a": 1}', ADD)])
    assert output_items(parsed, ids()) == [
        {"type": "reasoning", "id": "rs_0", "summary": [{"type": "summary_text", "text": "hm"}]},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "Adding.", "annotations": []}],
            "status": "completed",
        },
        {
            "type": "function_call",
            "id": "fc_2",
            "call_id": "call_3",
            "name": "add",
            "arguments": '{"a": 1}',
            "status": "completed",
        },
    ]


def test_an_empty_reply_is_one_empty_message():
    items = output_items(ParsedReply("", ""), ids(), status="incomplete")
    assert [(item["type"], item["status"]) for item in items] == [("message", "incomplete")]


@UNHURRIED
@given(SAFE, SAFE, st.lists(NAMES, max_size=3))
def test_output_items_come_back_as_one_assistant_message(reasoning, content, names):
    parsed = ParsedReply(reasoning, content, [ParsedToolCall(name, "{}", "") for name in names])
    messages = messages_from_responses(output_items(parsed, ids()))
    assert len(messages) == 1
    assert messages[0]["content"] == content
    assert messages[0].get("reasoning_content", "") == reasoning
    assert [call["function"]["name"] for call in messages[0].get("tool_calls", [])] == names
