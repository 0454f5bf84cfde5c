"""Rows from outside: the published ones as they are, what is refused, and a judge for messages."""

import json

import pytest

from environments.tool_call_pivot.environment import ToolCallPivot
from environments.tool_call_pivot.judging import SAME_STEP, judged
from environments.tool_call_pivot.published import COMPARATORS
from gym_core.contracts import Grading, Task, Verdict
from gym_core.environment import Script, Session
from gym_core.errors import BadRow
from gym_core.play import play_script
from gym_core.registry import Registry
from gym_core.reply import read_reply, text_output

KIND = "single_step_tool_use_with_argument_comparison"
ENVIRONMENT = ToolCallPivot()
TOOL = {"type": "function", "name": "f", "parameters": {"type": "object"}}
CALL = {"type": "function_call", "name": "f", "arguments": "{}"}


def task(action, **more):
    params = {"input": "Where is my order?", "tools": [TOOL]}
    return Task.from_row({"responses_create_params": params, "expected_action": action, **more}, "tool_call_pivot")


def published_tasks(folder):
    lines = (folder / f"{KIND}.jsonl").read_text().splitlines()
    return [ENVIRONMENT.ingest(Task.from_row(json.loads(line), "tool_call_pivot")) for line in lines]


async def test_the_experts_action_is_right_in_both_gradings(published_rows):
    for one in published_tasks(published_rows):
        output, verdict = await play_script(ENVIRONMENT, one)
        assert verdict.reward == 1.0
        assert ENVIRONMENT.verify_published(one, Session("s", one), read_reply(output)).reward == 1.0


def test_idle_words_are_paid_by_the_published_verifier_only(published_rows):
    output = read_reply(text_output("Sure, let me help you with that!"))
    wants_words = [isinstance(ENVIRONMENT.oracle(one), str) for one in published_tasks(published_rows)]
    for one, words in zip(published_tasks(published_rows), wants_words, strict=True):
        assert ENVIRONMENT.verify(one, Session("s", one), output).reward == 0.0
        assert ENVIRONMENT.verify_published(one, Session("s", one), output).reward == float(words)
    assert sum(wants_words) == 2


def test_the_last_turn_of_the_prompt_is_no_answer(published_rows):
    for one in published_tasks(published_rows):
        said = [item["content"] for item in one.messages if item.get("role") == "user"]
        for text in said:
            assert ENVIRONMENT.verify(one, Session("s", one), read_reply(text_output(text))).reward == 0.0


@pytest.mark.parametrize(
    ("action", "field"),
    [
        (None, "expected_action"),
        ("f()", "expected_action"),
        ({}, "expected_action.type"),
        ({"type": ["message"]}, "expected_action.type"),
        ({"type": "message"}, "expected_action.content"),
        ({"type": "message", "content": "\n"}, "expected_action.content"),
        ({**CALL, "name": ""}, "expected_action.name"),
        ({**CALL, "name": "g"}, "expected_action.name"),
        ({**CALL, "arguments": {}}, "expected_action.arguments"),
        ({**CALL, "arguments": "[]"}, "expected_action.arguments"),
        ({**CALL, "arguments": "{"}, "expected_action.arguments"),
        ({**CALL, "arguments": '{"a": NaN}'}, "expected_action.arguments"),
        ({**CALL, "arguments": '{"a": 1e999}'}, "expected_action.arguments"),
        ({**CALL, "arguments": '{"a":' + "[" * 100 + "]" * 100 + "}"}, "expected_action.arguments"),
        ({"type": "function_call_batch"}, "expected_action.calls"),
        ({"type": "function_call_batch", "calls": []}, "expected_action.calls"),
        ({"type": "function_call_batch", "calls": [CALL] * 65}, "expected_action.calls"),
        (
            {"type": "function_call_batch", "calls": [CALL, {"type": "message", "content": ""}]},
            "expected_action.calls[1]",
        ),
        ({"type": "function_call_batch", "calls": [CALL, {**CALL, "name": "g"}]}, "expected_action.calls[1].name"),
    ],
)
def test_what_can_never_be_earned_is_refused_by_its_field(action, field):
    with pytest.raises(BadRow) as refusal:
        ENVIRONMENT.ingest(task(action))
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ([], "message_facts"),
        ({"says": ["36"]}, "message_facts"),
        ({"say": []}, "message_facts.say"),
        ({"say": ["?"]}, "message_facts.say"),
        ({"say": ["36"], "never": "37"}, "message_facts.never"),
        ({"say": ["36"], "ask": 1}, "message_facts.ask"),
    ],
)
def test_facts_have_their_form(facts, field):
    with pytest.raises(BadRow) as refusal:
        ENVIRONMENT.ingest(task({"type": "message", "content": "36"}, message_facts=facts))
    assert refusal.value.field == field
    with pytest.raises(BadRow, match="belongs to an expected message"):
        ENVIRONMENT.ingest(task(CALL, message_facts={"say": ["36"]}))


def test_arguments_that_are_no_text_are_none():
    one = ENVIRONMENT.ingest(task(CALL))
    for arguments, worth in (("{}", 1.0), ({}, 0.0), (None, 0.0), ({"a": 1}, 0.0)):
        reply = read_reply([{"type": "function_call", "name": "f", "arguments": arguments, "call_id": "c"}])
        assert ENVIRONMENT.verify(one, Session("s", one), reply).reward == worth
        assert ENVIRONMENT.verify_published(one, Session("s", one), reply).reward == worth


@pytest.mark.parametrize("agent", [*COMPARATORS, f"{KIND}_agent", f"toolcall_schema_{KIND}_agent", KIND])
def test_rows_find_their_way_here_by_their_agent(agent):
    assert Registry.discover().resolve(agent) == "tool_call_pivot"


def test_a_batch_of_one_is_the_call_alone():
    one = ENVIRONMENT.ingest(task({"type": "function_call_batch", "calls": [CALL]}))
    assert ENVIRONMENT.oracle(one) == Script(ENVIRONMENT.oracle(task(CALL)).calls)


def test_padding_of_published_tables_is_no_fact():
    ENVIRONMENT.ingest(task({**CALL, "content": None, "calls": None}, message_facts=None, meta_info=None))


class Judge:
    """A judge that always says the same, and keeps what it was asked."""

    def __init__(self, value):
        self.value, self.asked = value, []

    async def ask(self, protocol, **fields):
        self.asked.append((protocol, fields))
        return self


EXPERT = {"type": "message", "content": "Your order A-17 left our store this morning. Is there anything else you need?"}


@pytest.mark.parametrize(
    ("text", "alone", "asked"),
    [
        (EXPERT["content"], 1.0, 0),
        ("", 0.0, 0),
        ("Where is my order?", 0.0, 0),
        ("It is on its way since this morning.", 0.0, 1),
        ("This morning your order A-17 left our store. Do you need anything else?", 1.0, 1),
    ],
)
@pytest.mark.parametrize("says", [True, False])
async def test_a_judge_decides_what_likeness_cannot(text, alone, asked, says):
    one, judge = ENVIRONMENT.ingest(task(EXPERT)), Judge(says)
    reply = read_reply(text_output(text))
    verdict = ENVIRONMENT.verify(one, Session("s", one), reply)
    assert verdict.reward == alone
    ruled = await judged(one, reply, verdict, judge)
    assert len(judge.asked) == asked
    assert (ruled.reward if isinstance(ruled, Verdict) else ruled) == (float(says) if asked else alone)
    for protocol, fields in judge.asked:
        assert protocol is SAME_STEP and "Where is my order?" in protocol.messages(fields)[-1]["content"]


async def test_the_judge_is_not_asked_about_calls_or_under_the_published_grading():
    judge = Judge(True)
    reply = read_reply(text_output("Sure!"))
    for action in (CALL, EXPERT):
        one = ENVIRONMENT.ingest(task(action))
        verdict = ENVIRONMENT.verify_published(one, Session("s", one), reply)
        verdict.grading = Grading.PUBLISHED
        assert await ENVIRONMENT.judge(one, Session("s", one), reply, verdict, judge) is verdict
    assert judge.asked == []
