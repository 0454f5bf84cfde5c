"""The services that training, evaluation and collection all need, each a process that ends with its caller."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from gym_core import auth
from gym_core.client import Client
from palaestra.processes import ServiceProcess, start_service

Row = dict[str, Any]
TASKS_TIMEOUT_S = 120.0


def connect(url: str, **options: Any) -> Client:
    """A client of one of our services, with the token they all share where one is set."""
    return Client(url, token=auth.own_token(), **options)


def _parent() -> list[str]:
    return ["--parent-pid", str(os.getpid())]


async def start_environments(
    names: Sequence[str], log_dir: Path, stack: AsyncExitStack, paths: Sequence[Path] = ()
) -> ServiceProcess:
    """One process that serves these environments, each under its name."""
    extra = [part for path in paths for part in ("--path", str(path))]
    service = await start_service("environments", ["env", "serve", *names, *extra, *_parent()], log_dir)
    stack.push_async_callback(service.stop)
    return service


async def start_agent(
    environments: Mapping[str, str], policy_url: str, store: Path | str, log_dir: Path, stack: AsyncExitStack
) -> ServiceProcess:
    """An agent server between environment services (URL by name) and a policy, with a store of its own."""
    named = [part for name, url in environments.items() for part in ("--env", f"{name}={url}")]
    arguments = ["agent", "serve", "--policy", policy_url, "--store", str(store), *named, *_parent()]
    service = await start_service("agent", arguments, log_dir)
    stack.push_async_callback(service.stop)
    return service


async def draw_tasks(url: str, name: str, *, seed: int, level: int, count: int, split: str) -> list[Row]:
    """Generated rows of one environment served at `url`. Raises its typed errors."""
    body = {"seed": seed, "level": level, "count": count, "split": split}
    async with connect(f"{url}/{name}", timeout_s=TASKS_TIMEOUT_S) as client:
        reply: dict[str, list[Row]] = await client.post_json("/tasks", body, idempotent=True)
        return reply["tasks"]
