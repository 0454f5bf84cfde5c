"""A resources server of NeMo Gym under our agent: what it sets, says, refuses and breaks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web
from fakes import FakePolicy, call, message

from agent_server.app import build_app
from agent_server.config import AgentConfig
from agent_server.nemo_gym.resources import ResourcesServer
from gym_core.client import Client
from gym_core.errors import BadSession, UnknownName
from gym_core.serve import start

ROW: dict[str, Any] = {
    "environment": "theirs",
    "responses_create_params": {"input": "count", "tools": [{"type": "function", "name": "add", "parameters": {}}]},
    "expected": 3,
}


class Theirs:
    """A counter in a session whose cookie changes with every answer; verifies by what `verdict` says."""

    def __init__(self, **verdict: Any) -> None:
        self.verdict = verdict
        self.described = True
        self.counts: dict[str, int] = {}
        self.cookies: list[str] = []
        self.verified: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/openapi.json", self._openapi)
        app.router.add_post("/seed_session", self._seed)
        app.router.add_post("/verify", self._verify)
        app.router.add_post("/{tool}", self._tool)
        return app

    async def _openapi(self, _: web.Request) -> web.Response:
        if not self.described:
            raise web.HTTPNotFound()
        paths = {"/seed_session": {"post": {}}, "/verify": {"post": {}}, "/add": {"post": {}}, "/count": {"get": {}}}
        return web.json_response({"info": {"title": "FastAPI", "version": "0.1.0"}, "paths": paths})

    def _answer(self, request: web.Request, reply: web.Response, step: int) -> web.Response:
        self.cookies.append(request.headers.get("Cookie", ""))
        self.headers.append(dict(request.headers))
        reply.set_cookie("Counter___theirs", f"state-{step}")
        return reply

    async def _seed(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert "palaestra" not in body and body["expected"] == 3
        return self._answer(request, web.json_response({}), 0)

    async def _tool(self, request: web.Request) -> web.Response:
        name, body = request.match_info["tool"], await request.json()
        if name == "add" and body == {"n": "x"}:
            return self._answer(request, web.json_response({"detail": "no number"}, status=422), 1)
        if name == "add" and body is None:
            return self._answer(request, web.Response(text="boom", status=500), 1)
        return self._answer(request, web.json_response({"said": body}), 2)

    async def _verify(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.verified.append(body)
        return web.Response(body=json.dumps({**body, **self.verdict}), content_type="application/json")


Build = Callable[..., Awaitable[Client]]


@pytest.fixture
async def house() -> AsyncIterator[Build]:
    """An agent between a policy and one of their servers, and a client of the agent."""
    async with AsyncExitStack() as stack:

        async def build(theirs: Theirs, *turns: list[dict[str, Any]]) -> Client:
            served = await stack.enter_async_context(await start(theirs.app()))
            policy = await stack.enter_async_context(await start(FakePolicy(*turns).app()))
            config = AgentConfig(environments={"theirs": f"nemo_gym+{served.url}"}, policy_url=policy.url)
            agent = await stack.enter_async_context(await start(build_app(config, token="ours"), token="ours"))
            return await stack.enter_async_context(Client(agent.url, token="ours"))

        yield build


async def test_cookies_travel_through_the_session_as_they_change(house: Build) -> None:
    theirs = Theirs(reward=0.5, reward_components={"a": 0.25, "b": 0.25}, judged="well", mask_sample=False)
    client = await house(theirs, [call("add", '{"n": 1}')], [call("add", '{"n": 2}', "c2")], [message("3")])
    said = await client.post_json("/run", ROW)
    assert said["outcome"] == "scored" and said["reward"] == 0.5
    assert said["verdict"]["components"] == {"a": 0.25, "b": 0.25} and said["verdict"]["details"] == {"judged": "well"}
    assert theirs.cookies == ["", "Counter___theirs=state-0", "Counter___theirs=state-2"]
    assert all("Authorization" not in headers for headers in theirs.headers), "our token is none of their business"
    (verified,) = theirs.verified
    response = verified["response"]
    assert {name: verified[name] for name in ("responses_create_params", "expected")} == {
        "responses_create_params": ROW["responses_create_params"], "expected": 3,
    }  # fmt: skip
    assert response["object"] == "response" and response["tools"] == ROW["responses_create_params"]["tools"]
    kinds = [item["type"] for item in response["output"]]
    assert kinds == ["function_call", "function_call_output", "function_call", "function_call_output", "message"]
    assert response["output"][-1]["content"][0]["annotations"] == [] and response["output"][-1]["id"]


async def test_what_a_tool_answers_is_what_the_policy_reads_whatever_the_status(house: Build) -> None:
    calls = [call("add", '{"n": "x"}'), call("add", "null", "c2"), call("add", "{", "c3"), call("none", "{}", "c4")]
    theirs = Theirs(reward=1.0)
    client = await house(theirs, calls, [message("done")])
    said = await client.post_json("/run", ROW)
    outputs = [item["output"] for item in said["response"]["output"] if item["type"] == "function_call_output"]
    assert json.loads(outputs[0]) == {"detail": "no number"} and outputs[1] == "boom"
    assert "Invalid tool call arguments" in outputs[2] and "no tool 'none'" in outputs[3]
    assert said["usage"]["tool_errors"] == 4 and said["reward"] == 1.0


@pytest.mark.parametrize(
    ("verdict", "outcome", "why"),
    [
        ({"reward": 0.0, "mask_sample": True, "failure_reason": "the database was away"}, "env_error", "was away"),
        ({"reward": 0.0, "_ng_failure_class": "judge_timeout"}, "judge_error", "judge_timeout"),
        ({"reward": 1.0, "mask_sample": True, "failure_kind": "verifier_unavailable"}, "judge_error", "unavailable"),
        ({"reward": None}, "env_error", "no reward"),
        ({"reward": True}, "env_error", "no reward"),
        ({"reward": "1.0"}, "env_error", "no reward"),
        ({"reward": float("nan")}, "env_error", "not what was asked for"),
        ({"reward": 1.0, "reward_components": {"a": "x"}}, "env_error", "no numbers"),
        ({"reward": 1.0, "reward_components": [1]}, "env_error", "no numbers"),
    ],
)
async def test_a_verdict_that_measured_nothing_is_a_failure_and_no_reward(
    house: Build, verdict: dict[str, Any], outcome: str, why: str
) -> None:
    client = await house(Theirs(**verdict), [message("3")])
    said = await client.post_json("/run", ROW)
    assert said["outcome"] == outcome and said["reward"] is None and said["mask_sample"] is True
    assert why in said["error"]["message"]


async def test_a_server_that_does_not_describe_itself_is_asked_for_what_the_row_declares(house: Build) -> None:
    theirs = Theirs(reward=1.0)
    theirs.described = False
    client = await house(theirs, [call("add", '{"n": 1}')], [message("1")])
    said = await client.post_json("/run", ROW)
    assert json.loads(said["response"]["output"][1]["output"]) == {"said": {"n": 1}}


async def test_sessions_are_forgotten_and_unknown_ones_refused() -> None:
    async with await start(Theirs(reward=1.0).app()) as served, ResourcesServer(f"nemo_gym+{served.url}") as client:
        session = (await client.post_json("/seed_session", {**ROW, "palaestra": {"seed": 1}}))["session_id"]
        assert (await client.post_json("/close_session", {"session_id": session})) == {}
        with pytest.raises(BadSession):
            await client.post("/verify", {"session_id": session, "response": {"output": []}})
        with pytest.raises(BadSession):
            await client.post("/add", b"{}")
        with pytest.raises(UnknownName, match="NeMo Gym server"):
            await client.post("/tasks", {"count": 1})
