"""An environment without a socket answers what the same one answers over HTTP, errors included."""

from __future__ import annotations

from typing import Any

import pytest

from gym_core import headers
from gym_core.client import Client
from gym_core.errors import DeadlineExceeded, PalaestraError, UnknownName
from gym_core.local import LocalEnvironment, running
from gym_core.registry import Registry
from gym_core.reply import text_output
from gym_core.serve import start
from gym_core.server import SERVICES, EnvironmentServiceConfig, build_app


async def said(client: Client, row: dict[str, Any]) -> list[Any]:
    """What an environment says to a session's whole life, and to what is wrong."""
    answers: list[Any] = [await client.get_json("/manifest")]
    session = (await client.post_json("/seed_session", row, idempotent=True))["session_id"]
    about = {headers.SESSION: session}
    for tool, body in (("deposit", b'{"account": "Ana", "amount": 1}'), ("deposit", b"{"), ("oracle", b"{}")):
        reply = await client.post(f"/{tool}", body, about, check=False) if tool == "deposit" else None
        answers.append(None if reply is None else (reply.status, reply.headers.get(headers.TOOL), reply.text))
    done = {"session_id": session, "response": {"output": text_output("4")}}
    answers.append((await client.post_json("/verify", done))["reward"])
    answers.append(await client.post_json("/close_session", {"session_id": session}))
    for path, body in (("/verify", done), ("/verify", []), ("/nothing", {}), ("/seed_session", {"x": 1})):
        with pytest.raises(PalaestraError) as caught:
            await client.post(path, body)
        info = caught.value.info()
        answers.append((caught.value.status, info.code, info.message, info.field, info.server))
    return answers


async def test_the_same_answers_as_over_http() -> None:
    loaded = Registry.discover().load("ledger")
    app = build_app([loaded], EnvironmentServiceConfig(session_secret="s"))
    async with await start(app) as served, Client(served.url, retries=0, timeout_s=60) as client:
        row = (await client.post_json("/tasks", {"count": 1}))["tasks"][0]
        over_http = await said(client, row)
    app = build_app([loaded], EnvironmentServiceConfig(session_secret="s"))
    async with running(app):
        assert await said(LocalEnvironment(app, "ledger"), row) == over_http
        assert len(app[SERVICES]["ledger"].sessions) == 0


async def test_a_deadline_holds_and_an_unknown_environment_is_named() -> None:
    app = build_app([Registry.discover().load("ledger")], EnvironmentServiceConfig())
    async with running(app):
        with pytest.raises(DeadlineExceeded, match="/tasks"):
            await LocalEnvironment(app, "ledger").post("/tasks", {"count": 10_000}, timeout_s=0.0)
        with pytest.raises(UnknownName, match="'math'"):
            LocalEnvironment(app, "math")
