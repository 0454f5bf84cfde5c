"""A policy that plays scripts over the token plane: calls in order, then the reply, no tokens."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from agent_server.policy import Policy
from gym_core.client import Client
from gym_core.contracts import Task
from gym_core.environment import Call, Script
from gym_core.errors import BadRequest, UnknownName
from gym_core.serve import start
from gym_core.tokens import pack_frame
from palaestra.scripted import build_app, scripts_by_prompt


def task(words: str) -> Task:
    return Task.from_row({"environment": "e", "task_id": words, "responses_create_params": {"input": words}})


ADD = Script((Call("add", {"n": 1}), Call("add", {"n": 2})), "done")


async def test_calls_come_in_order_and_then_the_reply() -> None:
    scripts = scripts_by_prompt({"a": (task("hi"), ADD), "b": (task("ho"), Script(reply="yes"))})
    async with await start(build_app(scripts)) as served:
        policy = Policy(Client(served.url, retries=0), "")

        async def turn(items: list[dict[str, Any]]) -> Any:
            return await policy.turn({"input": items}, 0, b"", 60.0, "k")

        items: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
        said = []
        for _ in range(3):
            played = await turn(items)
            assert played.segment == b"" and played.finish_reason == "stop"
            said.append(played.output[0])
            items += [*played.output, {"type": "function_call_output", "call_id": "c", "output": "ok"}]
        assert [(item.get("name"), item.get("arguments")) for item in said[:2]] == [
            ("add", '{"n":1}'),
            ("add", '{"n":2}'),
        ]
        assert said[2]["content"][0]["text"] == "done"
        other = await turn([{"role": "user", "content": "ho"}])
        assert other.output[0]["content"][0]["text"] == "yes"
        with pytest.raises(UnknownName, match="no script for this prompt"):
            await turn([{"role": "user", "content": "what?"}])
        await policy.close()


@pytest.mark.parametrize("body", [b"", b"{}", pack_frame(b"[1]"), pack_frame(b'{"request": {}}'), pack_frame(b"\xff")])
async def test_what_is_no_turn_is_refused(body: bytes) -> None:
    async with await start(build_app({})) as served, Client(served.url, retries=0) as client:
        with pytest.raises(BadRequest):
            await client.post("/v1/responses", body)


def test_two_tasks_in_the_same_words_are_refused() -> None:
    with pytest.raises(ValueError, match="same prompt"):
        scripts_by_prompt({"a": (task("hi"), ADD), "b": (task("hi"), Script())})


def test_the_prompt_of_a_task_is_its_key() -> None:
    (key,) = scripts_by_prompt({"a": (task("hi"), ADD)})
    assert msgspec.json.decode(key) == [["user", "hi"]]
