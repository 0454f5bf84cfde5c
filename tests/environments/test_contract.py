"""What every environment of the registry must keep, checked through the HTTP service. Grows with the registry."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import textwrap
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gym_core import headers
from gym_core.client import Client
from gym_core.contracts import Task, TaskRef
from gym_core.environment import Call, Environment, Script
from gym_core.generate import make_task, make_tasks
from gym_core.host import settle
from gym_core.play import call_items
from gym_core.registry import Registry
from gym_core.reply import text_output
from gym_core.serve import start
from gym_core.server import EnvironmentServiceConfig, build_app
from gym_core.tools import RESERVED_NAMES, USER_TURN

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = Registry.discover()
KINDS = {"full", "zero", "malformed", "hacked"}
TASKS_PER_LEVEL = 50
HELDOUT = 256

each = pytest.mark.parametrize("name", REGISTRY.names())
Items = list[dict[str, Any]]


def environment_of(name: str) -> Environment:
    return REGISTRY.load(name).cls()


@asynccontextmanager
async def served(name: str) -> AsyncIterator[Client]:
    """The environment alone in its service, as a caller meets it; skipped where this machine lacks what it needs."""
    if missing := environment_of(name).unavailable():
        pytest.skip(f"{name} on this machine: {missing}")
    app = build_app([REGISTRY.load(name)], EnvironmentServiceConfig(workers=1))
    async with await start(app) as service, Client(service.url, timeout_s=60) as client:
        yield client


async def played(
    client: Client,
    keeps_sessions: bool,
    row: dict[str, Any],
    script: str | Script,
    items: Items | None = None,
    **run: Any,
) -> dict[str, Any]:
    """The reply of /verify to a script played as the agent server would; `items` stand in for its last words."""
    script = Script(reply=script) if isinstance(script, str) else script
    output: Items = []
    body: dict[str, Any] = dict(row)
    session = ""
    if keeps_sessions:
        session = (await client.post_json("/seed_session", row))["session_id"]
        body = {"session_id": session}
    for number, call in enumerate(script.calls):
        arguments = json.dumps(call.arguments)
        answer = "error: there is no such tool"
        if call.name not in RESERVED_NAMES - {USER_TURN}:  # what a caller never dispatches
            about = {headers.SESSION: session}
            reply = await client.post(f"/{call.name}", arguments.encode(), headers=about, check=False)
            talk = call.name == USER_TURN and reply.status in (200, 409)
            assert talk or headers.TOOL in reply.headers or reply.status == 404, reply.body
            answer = reply.body.decode()
        output += call_items(f"c{number}", call.name, arguments, answer)
    body["response"] = {"output": output + (text_output(script.reply) if items is None else items)}
    group = uuid.uuid4().hex
    body["palaestra"] = {"group_id": group, "rollout_id": group, **run}  # a group of one, where groups are judged
    verdict = await client.post_json("/verify", body)
    if "pending" in verdict:
        asked = {"group_id": group, "rollout_id": group, "wait_s": 30}
        verdict |= await client.post_json("/group_verdict", asked)
        verdict["reward"] = verdict["verdict"]["reward"]
    if session:
        await client.post_json("/close_session", {"session_id": session})
    return verdict


def refs(level: int, count: int, seed: int = 11, split: str = "train") -> Iterator[TaskRef]:
    return (TaskRef(seed=seed, level=level, index=index, split=split) for index in range(count))


def prompts(environment: Environment, level: int, count: int, split: str) -> set[str]:
    made = make_tasks(environment, seed=5, level=level, count=count, split=split)
    return {msgspec.json.encode(task.responses_create_params["input"]).decode() for task in made}


# The folder ------------------------------------------------------------------------------------------------------


def test_the_house_has_its_environments() -> None:
    assert REGISTRY.names()


@each
def test_the_manifest_describes_a_class_that_loads(name: str) -> None:
    manifest = REGISTRY.manifest(name)
    assert REGISTRY.load(name).cls.name == name
    assert manifest.description and manifest.licence
    assert manifest.network in ("none", "outbound")
    assert all(REGISTRY.resolve(other) == name for other in (*manifest.aliases, *manifest.rows))


@each
def test_there_is_a_readme_and_a_docstring(name: str) -> None:
    assert len((REGISTRY.folder(name) / "README.md").read_text()) > 200
    assert (REGISTRY.load(name).cls.__doc__ or "").strip()


@each
def test_there_are_at_least_five_levels_from_zero_up(name: str) -> None:
    levels = REGISTRY.load(name).cls.levels
    assert len(levels) >= 5
    assert levels[0] == 0


# Tasks -----------------------------------------------------------------------------------------------------------


@each
def test_the_same_reference_is_the_same_task_in_any_order(name: str) -> None:
    forth, back = environment_of(name), environment_of(name)
    for level in forth.levels:
        first = [make_task(forth, ref) for ref in refs(level, 20)]
        again = [make_task(back, ref) for ref in reversed(list(refs(level, 20)))]
        assert first == again[::-1]


@each
def test_another_process_makes_the_same_tasks(name: str) -> None:
    code = f"""
        import hashlib, msgspec
        from gym_core.generate import make_tasks
        from gym_core.registry import Registry
        made = Registry.discover().load({name!r}).cls()
        rows = [t.to_row() for level in made.levels for t in make_tasks(made, seed=5, level=level, count=10)]
        print(hashlib.sha256(msgspec.json.encode(rows)).hexdigest())
    """
    environment = environment_of(name)
    rows = [
        task.to_row() for level in environment.levels for task in make_tasks(environment, seed=5, level=level, count=10)
    ]
    shown = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "77"},
    )
    assert shown.stdout.strip() == hashlib.sha256(msgspec.json.encode(rows)).hexdigest()


@each
def test_other_seeds_make_other_tasks(name: str) -> None:
    environment = environment_of(name)
    top = environment.levels[-1]
    made = [{task.task_id for task in make_tasks(environment, seed=s, level=top, count=20)} for s in (1, 2)]
    assert made[0] != made[1]


@each
def test_no_prompt_is_in_both_splits_and_enough_are_held_out(name: str) -> None:
    environment = environment_of(name)
    held_out = prompts(environment, 0, HELDOUT, "heldout")
    assert len(held_out) == HELDOUT
    assert not held_out & prompts(environment, 0, HELDOUT, "train")
    for level in environment.levels[1:]:
        assert not prompts(environment, level, 50, "heldout") & prompts(environment, level, 50, "train")


@each
async def test_hidden_fields_never_leave_the_service(name: str) -> None:
    environment = environment_of(name)
    async with served(name) as client:
        for level in environment.levels:
            task = make_task(environment, next(refs(level, 1)))
            said = await client.post_json("/tasks", {"seed": 11, "level": level, "count": 1})
            (row,) = said["tasks"]
            assert row == task.to_row()
            assert not set(task.hidden) & set(row)
            taken = (await client.post_json("/ingest", {"rows": [row]}))["tasks"][0]
            verdict = await played(client, environment.keeps_sessions(), row, "")
            for reply in (row, taken, verdict):
                assert not set(task.hidden) & set(reply)
                assert "hidden" not in reply


# Rewards ---------------------------------------------------------------------------------------------------------


@each
async def test_the_oracle_earns_the_maximum_and_silence_the_minimum(name: str) -> None:
    environment = environment_of(name)
    low, high = environment.reward_range
    keeps = environment.keeps_sessions()
    async with served(name) as client:
        for level in environment.levels:
            rows = (await client.post_json("/tasks", {"seed": 11, "level": level, "count": TASKS_PER_LEVEL}))["tasks"]
            assert len(rows) == TASKS_PER_LEVEL
            for number, row in enumerate(rows):
                task = make_task(environment, msgspec.convert(row["task_ref"], TaskRef))
                best = await played(client, keeps, row, await settle(environment.oracle(task)))
                assert best["reward"] == high, (row["task_ref"], best["verdict"])
                if number % 5 == 0:
                    idle = await played(client, keeps, row, "")
                    assert idle["reward"] == low, (row["task_ref"], idle["verdict"])


def cases(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (REGISTRY.folder(name) / "cases.jsonl").read_text().splitlines() if line]


@each
def test_there_are_cases_of_every_kind(name: str) -> None:
    kinds = Counter(case["kind"] for case in cases(name))
    assert set(kinds) == KINDS
    low, high = REGISTRY.load(name).cls.reward_range
    strict = [case for case in cases(name) if case.get("grading", "strict") == "strict"]
    full = [case["reward"] for case in strict if case["kind"] == "full"]
    assert high in full and low < min(full)  # a row may pay for a share of what it asks
    assert all(case["reward"] == low for case in strict if case["kind"] == "zero")
    assert all(case["reward"] < high for case in strict if case["kind"] in ("malformed", "hacked"))


@each
async def test_every_case_earns_what_it_states(name: str) -> None:
    environment = environment_of(name)
    wrong = []
    async with served(name) as client:
        for number, case in enumerate(cases(name), 1):
            if case.get("judged"):
                continue  # asked by the rule `judge` of the quality gate
            row = case.get("row") or make_task(environment, msgspec.convert(case["task_ref"], TaskRef)).to_row()
            script = script_of(case)
            items = case["output"] if isinstance(case["output"], list) else None
            run = {"grading": case["grading"]} if "grading" in case else {}
            verdict = (await played(client, environment.keeps_sessions(), row, script, items, **run))["verdict"]
            if verdict["reward"] != pytest.approx(case["reward"]):
                wrong.append((number, case["kind"], case["reward"], verdict))
    assert wrong == []


def script_of(case: dict[str, Any]) -> Script:
    """The tool calls of a case (`calls`) and its last words."""
    calls = tuple(Call(call["name"], call["arguments"]) for call in case.get("calls", []))
    return Script(calls, case["output"] if isinstance(case["output"], str) else "")


@each
async def test_rollouts_side_by_side_do_not_disturb_each_other(name: str) -> None:
    environment = environment_of(name)
    level = environment.levels[0]
    tasks = make_tasks(environment, seed=12, level=level, count=6)
    keeps = environment.keeps_sessions()

    async def play(client: Client, task: Task, speak: bool) -> float:
        script = await settle(environment.oracle(task)) if speak else ""
        reward: float = (await played(client, keeps, task.to_row(), script))["reward"]
        return reward

    low, high = environment.reward_range
    async with served(name) as client:
        plays = [play(client, task, speak) for task in tasks for speak in (True, False)]
        assert await asyncio.gather(*plays) == [high, low] * len(tasks)
