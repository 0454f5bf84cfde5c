"""Taking a rollout back reaches the program that is being checked: its process and its sandbox are gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any

import psutil
import pytest
from fakes import FakePolicy, message

from agent_server.app import build_app
from agent_server.config import AgentConfig
from gym_core.client import Client
from gym_core.registry import Registry
from gym_core.serve import start
from gym_core.server import SERVICES, EnvironmentServiceConfig
from gym_core.server import build_app as environment_app

PATIENCE_S = 60.0
ENDLESS = "```python\nwhile True:\n    pass\n```"
ROW = {
    "environment": "code",
    "responses_create_params": {"input": "Add two numbers."},
    "verifier_metadata": {
        "unit_tests": {"inputs": ["1 2\n"], "outputs": ["3\n"], "fn_name": None},
        "time_limit_s": 30,
    },
}


async def until(condition: Any) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.02)


def burning(worker: int) -> list[psutil.Process]:
    """Everything below a worker, once something below it has used CPU that only an endless loop uses."""
    with contextlib.suppress(psutil.NoSuchProcess):
        below = psutil.Process(worker).children(recursive=True)
        if any(process.cpu_times().user > 0.5 for process in below):
            return below
    return []


@pytest.mark.parametrize("how", ["cancel", "hang up", pytest.param("deadline", marks=pytest.mark.slow)])
async def test_a_rollout_that_is_taken_back_ends_its_running_check(tmp_path: Path, how: str) -> None:
    gym_app = environment_app([Registry.discover().load("code")], EnvironmentServiceConfig(workers=1))
    policy = FakePolicy([message(ENDLESS)])
    async with await start(policy.app()) as brain, await start(gym_app) as gym:
        settings = AgentConfig(environments={"code": gym.url}, policy_url=brain.url, store=str(tmp_path / "store.db"))
        async with await start(build_app(settings)) as agent, Client(agent.url, retries=0, timeout_s=120) as client:
            pool = gym_app[SERVICES]["code"].pool
            assert pool is not None
            await pool.ready()
            options = {"rollout_id": "r/1", "deadline_s": 20.0 if how == "deadline" else 300.0}
            asked = {**ROW, "palaestra": options}
            if how == "hang up":
                frames = client.stream("/rollouts", {"rows": [asked]})
                playing = asyncio.create_task(anext(frames))
            else:
                playing = asyncio.create_task(client.post_json("/run", asked))
            found: list[psutil.Process] = []

            def at_work() -> bool:
                found[:] = [process for pid in pool.pids for process in burning(pid)]
                return bool(found)

            await until(at_work)
            victims = [psutil.Process(pid) for pid in pool.pids] + found
            if how == "cancel":
                assert (await client.post_json("/cancel", {"rollout_ids": ["r/1"]}))["cancelled"] == 1
            elif how == "hang up":
                playing.cancel()
            await until(lambda: not any(alive(process) for process in victims))
            if how != "hang up":
                told = await playing
                assert told["outcome"] == ("cancelled" if how == "cancel" else "env_error")
                assert told["reward"] is None
            else:
                await asyncio.wait({playing})
            assert pool.kills == 1
            honest = {**ROW, "response": {"output": [message("```python\nprint(sum(map(int, input().split())))\n```")]}}
            async with Client(gym.url, timeout_s=60) as direct:
                assert (await direct.post_json("/verify", honest))["reward"] == 1.0


def alive(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.pid != os.getpid() and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
