"""Clients that speak NeMo Gym's routes and know nothing of ours: cookies, raw tool text, rows echoed with a reward."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from fakes import FakePolicy, call, message

from agent_server.app import build_app as agent_app
from agent_server.config import AgentConfig
from gym_core.contracts import Task
from gym_core.environment import Script
from gym_core.generate import make_tasks
from gym_core.registry import Registry
from gym_core.serve import Served, start
from gym_core.server import build_app

SEED = 11


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    registry = Registry.discover()
    async with await start(build_app([registry.load("ledger"), registry.load("math")])) as running:
        yield running


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


def ledger_tasks(count: int) -> list[tuple[Task, Script]]:
    environment = Registry.discover().load("ledger").cls()
    made = make_tasks(environment, seed=SEED, level=1, count=count, split="train")
    scripts = [environment.oracle(task) for task in made]
    return [(task, said) for task, said in zip(made, scripts, strict=True) if isinstance(said, Script)]


def response(*items: dict[str, Any]) -> dict[str, Any]:
    """A Responses object as an agent of theirs posts it."""
    return {
        "id": "resp_1", "object": "response", "created_at": 0.0, "model": "m", "output": list(items),
        "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
    }  # fmt: skip


async def play(client: httpx.AsyncClient, task: Task, script: Script) -> list[dict[str, Any]]:
    """Their simple agent's loop: every tool's body, whatever its status, is the call's output."""
    items: list[dict[str, Any]] = []
    for number, step in enumerate(script.calls):
        reply = await client.post(f"/{step.name}", json=step.arguments)
        assert reply.status_code == 200, reply.text
        arguments = msgspec.json.encode(step.arguments).decode()
        items += [
            call(step.name, arguments, f"c{number}"),
            {"type": "function_call_output", "call_id": f"c{number}", "output": reply.text},
        ]
    return [*items, message(script.reply)]


async def test_a_session_travels_in_its_cookie(served: Served) -> None:
    task, script = ledger_tasks(1)[0]
    row = task.to_row()
    async with httpx.AsyncClient(base_url=f"{served.url}/ledger") as client:
        seeded = await client.post("/seed_session", json=row)
        assert seeded.status_code == 200 and len(client.cookies) == 1
        output = await play(client, task, script)
        verified = (await client.post("/verify", json={**row, "response": response(*output)})).json()
    assert verified["reward"] == 1.0
    assert {name: verified[name] for name in row} == row
    assert verified["response"]["output"] == output


async def test_sessions_of_two_clients_do_not_meet(served: Served) -> None:
    (first, script), (second, _) = ledger_tasks(2)
    async with (
        httpx.AsyncClient(base_url=f"{served.url}/ledger") as one,
        httpx.AsyncClient(base_url=f"{served.url}/ledger") as other,
    ):
        await one.post("/seed_session", json=first.to_row())
        await other.post("/seed_session", json=second.to_row())
        output = await play(one, first, script)
        idle = response(message(script.reply))
        theirs = await other.post("/verify", json={**second.to_row(), "response": idle})
        ours = await one.post("/verify", json={**first.to_row(), "response": response(*output)})
    assert (ours.json()["reward"], theirs.json()["reward"]) == (1.0, 0.0)


async def test_a_tool_fault_is_text_for_the_model_and_no_session_is_an_error(served: Served) -> None:
    task, _ = ledger_tasks(1)[0]
    async with httpx.AsyncClient(base_url=f"{served.url}/ledger") as client:
        without = await client.post("/get_balance", json={"account": "A1"})
        assert without.status_code == 403 and without.json()["error"]["code"] == "bad_session"
        await client.post("/seed_session", json=task.to_row())
        fault = await client.post("/get_balance", json={"account": "nobody's"})
        assert fault.status_code == 422 and fault.headers["content-type"].startswith("text/plain")
        broken = await client.post("/get_balance", content=b"{")
        assert broken.status_code == 422 and "Traceback" not in broken.text


async def test_math_verifies_a_bare_row_without_a_session(served: Served) -> None:
    row = {"responses_create_params": {"input": [{"role": "user", "content": "1/2 + 1/4?"}]},
           "question": "1/2 + 1/4?", "expected_answer": r"\frac{3}{4}", "uuid": "kept"}  # fmt: skip
    async with httpx.AsyncClient(base_url=f"{served.url}/math", timeout=30) as client:
        assert (await client.post("/seed_session", json=row)).status_code == 200
        for text, reward in (("It is \\boxed{0.75}.", 1.0), ("It is \\boxed{3}.", 0.0)):
            verified = (await client.post("/verify", json={**row, "response": response(message(text))})).json()
            assert verified["reward"] == reward and verified["uuid"] == "kept"
            assert verified["expected_answer"] == row["expected_answer"]


async def test_run_answers_contiguous_tokens_and_the_same_again(
    served: Served, stack: AsyncExitStack, tmp_path: Path
) -> None:
    """What a trainer of theirs checks: each turn's prompt begins with every token seen so far."""
    task, script = ledger_tasks(1)[0]
    turns = [[call(one.name, msgspec.json.encode(one.arguments).decode(), f"c{n}")]
             for n, one in enumerate(script.calls)]  # fmt: skip
    policy = FakePolicy(*turns, [message(script.reply)])
    brain = await stack.enter_async_context(await start(policy.app()))
    config = AgentConfig(
        environments={"ledger": f"{served.url}/ledger"}, policy_url=brain.url, store=str(tmp_path / "store.db")
    )
    agent = await stack.enter_async_context(await start(agent_app(config)))
    row = {**task.to_row(), "_ng_task_index": 4, "agent_ref": {"name": "ledger"}, "palaestra": {"rollout_id": "one"}}
    async with httpx.AsyncClient(base_url=agent.url, timeout=30) as client:
        reply = (await client.post("/run", json=row)).json()
        again = (await client.post("/run", json=row)).json()
    assert reply["reward"] == 1.0 and reply["_ng_task_index"] == 4 and reply["mask_sample"] is False
    bundles = [item for item in reply["response"]["output"] if "generation_token_ids" in item]
    assert len(bundles) == len(script.calls) + 1 >= 3
    seen: list[int] = []
    for item in bundles:
        assert item["prompt_token_ids"][: len(seen)] == seen and len(item["prompt_token_ids"]) > len(seen)
        assert len(item["generation_log_probs"]) == len(item["generation_token_ids"]) > 0
        seen = item["prompt_token_ids"] + item["generation_token_ids"]
    assert again == reply and len(policy.requests) == len(bundles), "an id names one rollout for ever"


async def test_one_id_for_two_tasks_is_refused(served: Served, stack: AsyncExitStack, tmp_path: Path) -> None:
    first, second = ((task.to_row(), script) for task, script in ledger_tasks(2))
    brain = await stack.enter_async_context(await start(FakePolicy([message("done")]).app()))
    config = AgentConfig(
        environments={"ledger": f"{served.url}/ledger"}, policy_url=brain.url, store=str(tmp_path / "store.db")
    )
    agent = await stack.enter_async_context(await start(agent_app(config)))
    async with httpx.AsyncClient(base_url=agent.url, timeout=30) as client:
        options = {"palaestra": {"rollout_id": "one"}}
        assert (await client.post("/run", json={**first[0], **options})).status_code == 200
        refused = await client.post("/run", json={**second[0], **options})
        batch = await client.post("/rollouts", json={"rows": [{**second[0], **options}]})
    for reply in (refused, batch):
        assert reply.status_code == 409 and reply.json()["error"]["field"] == "palaestra.rollout_id"
