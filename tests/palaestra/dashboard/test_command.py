"""The page as programs serve it: a command of its own, and the agent server when asked."""

from __future__ import annotations

import os
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from played import RUN

from gym_core.client import Client
from gym_core.errors import BadRequest, UnknownName
from gym_core.store import Store
from palaestra.commands import agent, dashboard
from palaestra.processes import start_service

PARENT = ["--parent-pid", str(os.getpid())]


async def shown(arguments: list[str], folder: Path) -> dict[str, object]:
    """What `palaestra ARGUMENTS` tells of the runs."""
    async with AsyncExitStack() as stack:
        service = await start_service("shown", [*arguments, *PARENT], folder)
        stack.push_async_callback(service.stop)
        client = await stack.enter_async_context(Client(service.url))
        assert b"<title>Palaestra</title>" in (await client.get("/dashboard/")).body
        told: dict[str, object] = (await client.get("/dashboard/api/runs")).json()
        return told


async def test_the_command_shows_a_folder_of_runs(filled: Store, tmp_path: Path) -> None:
    told = await shown(["dashboard", str(tmp_path / "runs")], tmp_path)
    assert isinstance(told["runs"], list) and told["runs"][0]["run_id"] == RUN


async def test_an_agent_server_shows_its_store(filled: Store, tmp_path: Path) -> None:
    store = str(tmp_path / "runs" / RUN / "store.db")
    arguments = ["agent", "serve", "--policy", "http://127.0.0.1:9", "--env", "math=http://127.0.0.1:9/math"]
    told = await shown([*arguments, "--store", store, "--dashboard"], tmp_path)
    assert isinstance(told["runs"], list) and told["runs"][0]["rollouts"] == 12


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(UnknownName, match="nothing at"):
        dashboard.command.main(["no-such-folder"], standalone_mode=False)


def test_a_dashboard_without_a_store_is_refused() -> None:
    asked = ["serve", "--policy", "http://127.0.0.1:9", "--dashboard"]
    with pytest.raises(BadRequest, match="shows a store"):
        agent.command.main(asked, standalone_mode=False)
