"""Pivots of every level: the prompt alone decides the step, every kind comes up, and lazy agents earn nothing."""

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from environments.tool_call_pivot.actions import Message
from environments.tool_call_pivot.environment import ToolCallPivot
from environments.tool_call_pivot.generator import LEVELS
from environments.tool_call_pivot.rows import declared_names, expected_of, facts, told
from gym_core.environment import Session
from gym_core.generate import make_tasks
from gym_core.loading import load_file
from gym_core.reply import read_reply, text_output

reader = load_file(Path(__file__).with_name("reader.py"))
ENVIRONMENT = ToolCallPivot()
COUNT = 60


def tasks(level, count=COUNT, seed=11):
    return make_tasks(ENVIRONMENT, seed=seed, level=level, count=count)


def strict(task, output):
    return ENVIRONMENT.verify(task, Session("s", task), read_reply(output)).reward


def said_by(task):
    """What a task is decided by, in the form of the reader."""
    expected = expected_of(task)
    if isinstance(expected, Message):
        return set(facts(task).say)
    return in_order((call.name, json.loads(call.arguments)) for call in expected.calls)


def in_order(calls):
    return sorted(calls, key=json.dumps)


@pytest.mark.parametrize("level", [level for level in LEVELS if level])
def test_whoever_reads_the_prompt_knows_the_next_step(level):
    for task in tasks(level):
        step = reader.next_step(task)
        assert (step if isinstance(step, set) else in_order(step)) == said_by(task), task.ref


@pytest.mark.slow
@pytest.mark.parametrize("level", [level for level in LEVELS if level])
def test_whoever_reads_many_prompts_knows_every_next_step(level):
    for task in tasks(level, count=1500, seed=12):
        step = reader.next_step(task)
        assert (step if isinstance(step, set) else in_order(step)) == said_by(task), task.ref


@pytest.mark.parametrize("level", LEVELS)
def test_every_action_is_of_a_declared_tool_and_every_kind_of_action_comes_up(level):
    kinds = Counter()
    for task in tasks(level):
        expected = expected_of(task)
        kinds[type(expected)] += 1
        if not isinstance(expected, Message):
            assert {call.name for call in expected.calls} <= set(declared_names(task))
    assert len(kinds) == 2 and min(kinds.values()) >= COUNT / 5


def test_batches_come_up_and_level_five_has_tools_of_two_trades():
    many = [task for task in tasks(5) if not isinstance(expected_of(task), Message)]
    assert any(len(expected_of(task).calls) > 1 for task in many)
    assert all(len(task.tools) == 12 for task in many)


@pytest.mark.parametrize("level", LEVELS)
def test_one_step_too_early_or_too_late_earns_nothing(level):
    for task, other in zip(tasks(level), tasks(level, seed=12), strict=True):
        oracle = ENVIRONMENT.oracle(other)
        output = text_output(oracle) if isinstance(oracle, str) else calls_of(oracle)
        assert strict(task, output) == 0.0 or said_by(task) == said_by(other)


@pytest.mark.parametrize("level", LEVELS)
def test_what_the_prompt_says_is_never_the_message(level):
    for task in tasks(level):
        for text in told(task):
            assert strict(task, text_output(text)) == 0.0


@pytest.mark.parametrize("level", LEVELS)
def test_vandals_who_call_everything_with_what_they_find_earn_nothing_by_it(level):
    rng = random.Random(3)
    for task in tasks(level):
        words = [word.strip('.,!?()"') for text in told(task)[1:] or told(task) for word in text.split()]
        output = []
        for number, tool in enumerate(task.tools * 2):
            arguments = {name: rng.choice(words) for name in tool["parameters"]["properties"]}
            call = {"name": tool["name"], "arguments": json.dumps(arguments), "call_id": str(number)}
            output.append({"type": "function_call", **call})
        assert strict(task, output) == 0.0


def calls_of(script):
    return [
        {"type": "function_call", "name": call.name, "arguments": json.dumps(call.arguments), "call_id": str(number)}
        for number, call in enumerate(script.calls)
    ]
