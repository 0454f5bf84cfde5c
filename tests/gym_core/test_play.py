"""Scripts played in process: the oracle's by default, tools included, the session closed on every way out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gym_core.contracts import Task, TaskRef
from gym_core.environment import Call, Script
from gym_core.errors import JudgeFault
from gym_core.generate import make_task
from gym_core.loading import load_file
from gym_core.play import play_script
from gym_core.reply import read_reply, text_output

samples = load_file(Path(__file__).with_name("samples.py"))
REF = TaskRef(seed=1, level=0, index=0)


@pytest.fixture(autouse=True)
def closed() -> Iterator[list[str]]:
    samples.Counter.closed.clear()
    yield samples.Counter.closed


def counting(**hidden: Any) -> Task:
    task = make_task(samples.Counter(), REF)
    task.hidden.update(hidden)
    return task


async def test_the_oracle_is_played_and_earns_the_maximum(closed: list[str]) -> None:
    task = counting()
    items, verdict = await play_script(samples.Counter(), task)
    assert verdict is not None and verdict.reward == 1.0
    call, output, *message = items
    assert (call["type"], call["name"], call["call_id"]) == ("function_call", "add", output["call_id"])
    assert output["output"] == str(task["target"])
    assert message == text_output("done")
    assert closed == ["play"]


async def test_a_reply_alone_is_a_script() -> None:
    sums = samples.Sums()
    task = make_task(sums, REF)
    items, verdict = await play_script(sums, task)
    assert items == text_output(str(task["secret_sum"]))
    assert verdict is not None and verdict.gradings == {"strict": 1.0, "published": 1.0}
    _, wrong = await play_script(sums, task, "nothing")
    assert wrong is not None and wrong.reward == 0.0


async def test_a_script_may_be_played_without_a_verdict() -> None:
    _, verdict = await play_script(samples.Sums(), make_task(samples.Sums(), REF), "raise", verify=False)
    assert verdict is None


async def test_what_a_tool_answers_is_what_a_policy_would_read() -> None:
    calls = (Call("add", {"n": -1}), Call("broken"), Call("unlisted"), Call("verify"), Call("nothing"), Call("read"))
    items, verdict = await play_script(samples.Counter(), counting(), Script(calls, "bye"))
    outputs = [item["output"] for item in items if item["type"] == "function_call_output"]
    assert outputs[:5] == [
        "n must not be negative",
        "error: the tool broken failed (RuntimeError)",
        "error: no tool is called 'unlisted' here",
        "error: no tool is called 'verify' here",
        "error: no tool is called 'nothing' here",
    ]
    assert outputs[5].startswith('{"count":0')
    assert verdict is not None and verdict.components == {"calls": 6.0}
    assert [call.name for call in read_reply(items).tool_calls] == [call.name for call in calls]


async def test_a_coroutine_tool_is_awaited() -> None:
    import asyncio

    samples.Counter.entered, samples.Counter.leave = asyncio.Event(), asyncio.Event()
    samples.Counter.leave.set()
    items, _ = await play_script(samples.Counter(), counting(), Script((Call("slow"),)))
    assert items[1]["output"] == "slow"


async def test_the_session_is_closed_when_a_tool_or_the_verdict_fails(closed: list[str]) -> None:
    with pytest.raises(JudgeFault):
        await play_script(samples.Counter(), counting(), Script((Call("away"),)))
    assert closed == ["play"]


async def test_a_group_of_one_is_judged_as_a_group() -> None:
    longest = samples.Longest()
    _, verdict = await play_script(longest, make_task(longest, REF), "words")
    assert verdict is not None and verdict.reward == 1.0


async def test_rows_that_list_no_tools_allow_all_of_them() -> None:
    task = Task(environment="counter", task_id="t", responses_create_params={"input": "q"}, hidden={"target": 0})
    items, _ = await play_script(samples.Counter(), task, Script((Call("unlisted"),)))
    assert items[1]["output"] == "never"
    task.responses_create_params["tools"] = []
    items, _ = await play_script(samples.Counter(), task, Script((Call("add", {"n": 1}),)))
    assert items[1]["output"] == "error: no tool is called 'add' here"
