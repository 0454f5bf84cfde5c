"""An environment that does not take our token, or is none: never a word about the caller's token or address."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from fakes import FakeEnvironment, FakePolicy, message

from agent_server.app import build_app
from agent_server.config import AgentConfig
from agent_server.nemo_gym.config import HeadConfig
from agent_server.nemo_gym.head import build_head
from gym_core.client import Client
from gym_core.errors import RemoteError, Unauthorized
from gym_core.serve import harden, start

ROW: dict[str, Any] = {"environment": "fake", "responses_create_params": {"input": "hi"}}


async def served(stack: AsyncExitStack, environment: web.Application, token: str = "") -> tuple[Client, str]:
    """A client of an agent server (which has `token`) over that environment, and the environment's address."""
    place = await stack.enter_async_context(await start(environment))
    policy = await stack.enter_async_context(await start(FakePolicy([message("4")]).app()))
    config = AgentConfig(environments={"fake": place.url}, policy_url=policy.url)
    agent = await stack.enter_async_context(await start(build_app(config, token=token or None)))
    return await stack.enter_async_context(Client(agent.url, retries=0, token=token or None)), place.url


def guarded() -> web.Application:
    return harden(FakeEnvironment().app(), "environment", "another")


@pytest.mark.parametrize("path", ["/run", "/rollouts", "/environments/fake/tasks"])
async def test_a_token_that_the_environment_refuses_is_the_servers_trouble(path: str) -> None:
    async with AsyncExitStack() as stack:
        client, _ = await served(stack, guarded(), token="mine")
        body = {"rows": [ROW]} if path == "/rollouts" else ROW
        with pytest.raises(RemoteError, match="does not take the token of this one") as told:
            await client.post(path, body)
        assert "PALAESTRA_TOKEN" in told.value.hint and told.value.server == "environment"
        stranger = await stack.enter_async_context(Client(client.base_url, retries=0))
        with pytest.raises(Unauthorized):
            await stranger.post(path, body)


async def test_the_head_of_nemo_gym_says_so_in_its_own_shape() -> None:
    async with AsyncExitStack() as stack:
        environment = await stack.enter_async_context(await start(guarded()))
        config = HeadConfig(environments={"fake": environment.url})
        head = await stack.enter_async_context(await start(build_head(config)))
        client = await stack.enter_async_context(Client(head.url, retries=0))
        said = await client.post("/verify", {**ROW, "response": {"output": []}}, check=False)
        assert said.status in (500, 502) and b"does not take the token" in said.body


@pytest.mark.parametrize(
    ("manifest", "why"),
    [
        ({"status": "ok"}, "its manifest has no 'version'"),
        ([1, 2], "its manifest cannot be read"),
        ("text", "its manifest cannot be read"),
        (None, "there is no /manifest here"),
    ],
)
async def test_an_address_without_an_environment_is_named(manifest: Any, why: str) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(manifest)

    app = web.Application()
    if manifest is not None:
        app.router.add_get("/manifest", answer)
    async with AsyncExitStack() as stack:
        client, url = await served(stack, harden(app, "other"))
        with pytest.raises(RemoteError) as told:
            await client.post("/run", ROW)
        assert url in told.value.message and why in told.value.message
        assert "--env fake=http://host:port/fake" in told.value.hint
        assert (await client.get_json("/environments")) == {"environments": []}
