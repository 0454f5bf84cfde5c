"""Generated tasks: solved by their script, never by idleness, large and short where the smallest models play."""

from __future__ import annotations

import json
import random
import time

import pytest

from environments.ledger.environment import Ledger
from environments.ledger.generator import NAMES
from gym_core.contracts import Task, TaskRef, Verdict
from gym_core.environment import Call, Script, Session, ToolFault
from gym_core.generate import make_task, make_tasks
from gym_core.reply import read_reply, text_output

ENVIRONMENT = Ledger()


def drawn(level: int, count: int = 60) -> list[Task]:
    return [make_task(ENVIRONMENT, TaskRef(seed=11, level=level, index=index)) for index in range(count)]


def play(task: Task, script: Script) -> Verdict:
    session = Session("s", task, ENVIRONMENT.setup(task))
    declared = {tool["name"] for tool in task.tools}
    for call in script.calls:
        assert call.name in declared
        arguments = ENVIRONMENT.tool_specs()[call.name].parse(json.dumps(call.arguments))
        getattr(ENVIRONMENT, call.name)(session=session, **arguments)
    return ENVIRONMENT.verify(task, session, read_reply(text_output(script.reply)))


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
def test_the_script_earns_everything_without_a_detour(level: int) -> None:
    for task in drawn(level):
        script = ENVIRONMENT.oracle(task)
        assert isinstance(script, Script)
        assert len(script.calls) < ENVIRONMENT.max_steps
        verdict = play(task, script)
        assert verdict.reward == 1.0
        assert verdict.components["undone"] == 0.0


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
def test_idleness_and_mere_talk_earn_nothing(level: int) -> None:
    for task in drawn(level):
        for words in ("", "done", "Done: all money was moved as asked."):
            assert play(task, Script((), words)).reward == 0.0


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
def test_each_write_is_needed_exactly_once(level: int) -> None:
    for task in drawn(level, 30):
        script = ENVIRONMENT.oracle(task)
        assert isinstance(script, Script)
        for number, call in enumerate(script.calls):
            if call.name in ("find_account", "get_balance"):
                continue
            without = Script((*script.calls[:number], *script.calls[number + 1 :]), script.reply)
            assert play_freely(task, without) == 0.0
            twice = Script((*script.calls, call), script.reply)
            if call.name in ("deposit", "withdraw", "transfer"):
                reward, refusals = played(task, twice)
                assert reward == 0.0 or refusals


def play_freely(task: Task, script: Script) -> float:
    return played(task, script)[0]


def played(task: Task, script: Script) -> tuple[float, list[str]]:
    """Reward, and the refusals read on the way."""
    session, said = Session("s", task, ENVIRONMENT.setup(task)), []
    for call in script.calls:
        try:
            getattr(ENVIRONMENT, call.name)(session=session, **call.arguments)
        except ToolFault as fault:
            said.append(str(fault))
    return ENVIRONMENT.verify(task, session, read_reply(text_output(script.reply))).reward, said


def test_the_demo_level_is_one_call_that_copies_a_name_and_a_digit() -> None:
    tasks = make_tasks(ENVIRONMENT, seed=0, level=0, count=2000)
    for task in tasks:
        script = ENVIRONMENT.oracle(task)
        assert isinstance(script, Script)
        (call,) = script.calls
        prompt = task.messages[0]["content"]
        assert call.name == "deposit" and [tool["name"] for tool in task.tools] == ["deposit"]
        assert call.arguments["account"] in prompt and str(call.arguments["amount"]) in prompt
        assert len(prompt.split()) <= 5
        assert 1 <= call.arguments["amount"] <= 9
    heldout = make_tasks(ENVIRONMENT, seed=0, level=0, count=300, split="heldout")
    assert not {task.task_id for task in tasks} & {task.task_id for task in heldout}
    assert len(json.dumps(tasks[0].tools)) < 320


def test_the_first_levels_have_thousands_of_prompts() -> None:
    assert len(make_tasks(ENVIRONMENT, seed=3, level=1, count=3000)) == 3000
    assert len(set(NAMES)) == 40


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_ids_are_not_in_the_prompt_so_they_must_be_looked_up(level: int) -> None:
    for task in drawn(level, 20):
        prompt = task.messages[0]["content"]
        assert not [account_id for account_id in task["books"] if account_id in prompt]


def test_hidden_fields_stay_hidden() -> None:
    for level in ENVIRONMENT.levels:
        for task in drawn(level, 5):
            assert not {"books", "expected", "answer", "script"} & task.to_row().keys()


def test_a_session_is_seeded_in_well_under_a_millisecond() -> None:
    task = drawn(5, 1)[0]
    started = time.process_time()
    for _ in range(1000):
        ENVIRONMENT.setup(task)
    assert time.process_time() - started < 1.0


def test_a_random_caller_earns_little() -> None:
    rng, total = random.Random(0), 0.0
    for task in drawn(0, 400):
        call = Call("deposit", {"account": rng.choice(NAMES), "amount": rng.randint(1, 9)})
        total += play_freely(task, Script((call,), "done"))
    assert total / 400 < 0.02
