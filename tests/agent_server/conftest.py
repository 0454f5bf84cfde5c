"""An agent server between a fake policy and a fake environment, all on loopback sockets."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fakes import FakeEnvironment, FakePolicy

from agent_server.app import build_app
from agent_server.config import AgentConfig
from gym_core.client import Client
from gym_core.serve import start


@dataclass(slots=True)
class House:
    """What a test drives and looks at."""

    policy: FakePolicy
    environment: FakeEnvironment
    client: Client
    url: str


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[Callable[..., Awaitable[House]]]:
    async with AsyncExitStack() as stack:

        async def build(policy: FakePolicy, environment: FakeEnvironment | None = None, **config: Any) -> House:
            environment = environment or FakeEnvironment()
            policy_served = await stack.enter_async_context(await start(policy.app()))
            environment_served = await stack.enter_async_context(await start(environment.app()))
            given = {"environments": {"fake": environment_served.url}, "policy_url": policy_served.url, **config}
            settings = AgentConfig(store=str(tmp_path / "store.db"), **given)
            served = await stack.enter_async_context(await start(build_app(settings)))
            client = await stack.enter_async_context(Client(served.url))
            return House(policy, environment, client, served.url)

        yield build
