"""A NeMo Gym head in front of our servers: its clients see one gym at one address and notice no difference.

    GET  /global_config_dict_yaml, /server_instances      names and addresses, no secrets
    POST /run                    ─▶ agent /run             a rollout in the shape of theirs
    POST /aggregate_metrics                                means, pass@k
    POST /seed_session, /verify, /{tool}, /close_session ─▶ the environment of the row, or of the session's cookie
    POST /v1/responses, /v1/chat/completions             ─▶ policy

Errors of the caller are FastAPI's `{"detail": …}` with ours beside it; a failure behind the head is a 500 whose body is
one JSON string, as their servers answer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web

from agent_server.directory import Directory, EnvironmentPeer
from agent_server.nemo_gym.config import HeadConfig
from agent_server.nemo_gym.names import global_config, instances
from agent_server.nemo_gym.rows import as_asked, failure_text, measured, result_row
from gym_core import headers
from gym_core.access import Access
from gym_core.aggregate import aggregate
from gym_core.client import Client, Response, Token
from gym_core.errors import (
    BadRequest,
    ErrorInfo,
    Forbidden,
    PalaestraError,
    Unauthorized,
    UnknownName,
    refused_behind,
)
from gym_core.requests import AggregateRequest
from gym_core.serve import harden, json_reply, parse_json, read_json

SERVER = "nemo_gym_head"
COOKIE = "palaestra_session_"
_KEPT = (hdrs.CONTENT_TYPE, headers.TOOL, hdrs.RETRY_AFTER)


def build_head(config: HeadConfig, *, token: Token = None, access: Access | None = None) -> web.Application:
    """The head as an application: `token` is what it shows, `access` who may call it (else a `token` that is text).

    Raises `BadRequest` where it is told of no environment.
    """
    if not config.environments:
        raise BadRequest(
            "a head needs an environment", field="environments", hint="--env math=http://127.0.0.1:8200/math"
        )
    app = web.Application()
    head = _Head(config, token)
    for path in ("/", "/livez", "/readyz"):
        app.router.add_get(path, head.alive)
    app.router.add_get("/global_config_dict_yaml", head.configuration)
    app.router.add_get("/server_instances", head.server_instances)
    app.router.add_get("/reverify_mode", head.reverify_mode)
    app.router.add_post("/run", head.run)
    app.router.add_post("/aggregate_metrics", head.aggregate_metrics)
    for path in ("/v1/responses", "/v1/chat/completions"):
        app.router.add_post(path, head.policy)
    app.router.add_post("/{route}", head.environment)
    app.cleanup_ctx.append(head.open)
    guard = access or Access.of(token if isinstance(token, str) else None)
    harden(app, SERVER, guard, error_body=_error_body, scope="rollouts:run")
    return app


class _Head:
    """The handlers, and the clients that they pass requests on with."""

    def __init__(self, config: HeadConfig, token: Token) -> None:
        self._config = config
        self._token = token

    async def open(self, _: web.Application) -> AsyncIterator[None]:
        config = self._config
        self._agent = self._client(config.agent_url) if config.agent_url else None
        self._policy = self._client(config.policy_url) if config.policy_url else None
        clients = {name: self._client(url) for name, url in config.environments.items()}
        self._directory = Directory(clients, config.environment_s)
        yield
        for client in (self._agent, self._policy):
            if client is not None:
                await client.close()
        await self._directory.close()

    def _client(self, url: str) -> Client:
        return Client(url, token=self._token, connection_limit=self._config.max_connections)

    async def alive(self, _: web.Request) -> web.Response:
        return json_reply({"status": "ok"})

    async def configuration(self, request: web.Request) -> web.Response:
        import yaml

        return json_reply(yaml.safe_dump(await self._names(request), sort_keys=False))

    async def server_instances(self, request: web.Request) -> web.Response:
        return json_reply(instances(await self._names(request)))

    async def _names(self, request: web.Request) -> dict[str, Any]:
        """The configuration under the address that this caller reached us by."""
        reached = urlsplit(f"//{request.host}")
        manifests = [peer.manifest for peer in await self._directory.all()]
        return global_config(manifests, reached.hostname or "127.0.0.1", reached.port or 80, self._config.policy_url)

    async def reverify_mode(self, _: web.Request) -> web.Response:
        peers = await self._directory.all()
        return json_reply("unsupported" if any(peer.keeps_sessions for peer in peers) else "stateless")

    async def run(self, request: web.Request) -> web.Response:
        if self._agent is None:
            raise BadRequest("this head has no agent server", field="agent_url", hint="--agent http://127.0.0.1:8100")
        row: dict[str, Any] = await read_json(request, dict[str, Any])
        bound_s = self._config.deadline_s
        try:
            # Longer than the rollout may take: the agent says better than we could what took so long.
            reply = await self._agent.post("/run", as_asked(row, bound_s), timeout_s=2 * bound_s)
        except PalaestraError as error:
            return _inner_failure(error)
        said: Any = reply.json()
        if not measured(said) and self._config.failures == "status":
            return json_reply(failure_text(said), status=500)
        return json_reply(result_row(row, said))

    async def aggregate_metrics(self, request: web.Request) -> web.Response:
        asked: AggregateRequest = await read_json(request, AggregateRequest)
        return json_reply(aggregate(asked.verify_responses))

    async def policy(self, request: web.Request) -> web.Response:
        if self._policy is None:
            raise BadRequest("this head has no policy", field="policy_url", hint="--policy http://127.0.0.1:8000")
        return await self._pass_on(self._policy, request, await request.read(), {})

    async def environment(self, request: web.Request) -> web.Response:
        """One of an environment's routes or tools, at the environment that row or cookie speak of."""
        body = await request.read()
        peer = await self._peer(request, body)
        name = f"{COOKIE}{peer.name}"
        sent = {"Cookie": f"{name}={request.cookies[name]}"} if name in request.cookies else {}
        return await self._pass_on(peer.client, request, body, sent)

    async def _peer(self, request: web.Request, body: bytes) -> EnvironmentPeer:
        peers = await self._directory.all()
        if len(peers) == 1:
            return peers[0]
        seeded = [peer for peer in peers if f"{COOKIE}{peer.name}" in request.cookies]
        if request.path in ("/seed_session", "/verify"):
            row: dict[str, Any] = parse_json(body, dict[str, Any])
            try:
                return await self._directory.find(row)
            except UnknownName:
                if len(seeded) != 1 or request.path == "/seed_session":
                    raise
        if len(seeded) != 1:
            raise BadRequest(
                f"{len(seeded)} sessions are named, which environment is this for?",
                field="Cookie",
                hint="POST /seed_session first, and send back its cookie alone",
            )
        return seeded[0]

    async def _pass_on(self, client: Client, request: web.Request, body: bytes, sent: dict[str, str]) -> web.Response:
        kind: dict[str, str] = {hdrs.CONTENT_TYPE: request.headers.get(hdrs.CONTENT_TYPE, "application/json")}
        try:
            reply = await client.post(
                request.path, body, headers={**kind, **sent}, timeout_s=self._config.environment_s, check=False
            )
        except PalaestraError as error:
            return _inner_failure(error)
        refused = reply.error()
        return _inner_failure(refused) if isinstance(refused, Unauthorized | Forbidden) else _as_it_is(reply)


def _as_it_is(reply: Response) -> web.Response:
    answer = web.Response(body=reply.body, status=reply.status)
    answer.headers.popall(hdrs.CONTENT_TYPE, None)
    for name in _KEPT:
        if name in reply.headers:
            answer.headers[name] = reply.headers[name]
    for line in getattr(reply.headers, "getall", lambda *_: [])(hdrs.SET_COOKIE, []):
        answer.headers.add(hdrs.SET_COOKIE, line)
    return answer


def _inner_failure(error: PalaestraError) -> web.Response:
    """What the caller did wrong is told as that; anything behind us as the string that their servers answer."""
    if isinstance(error, Unauthorized | Forbidden):
        error = refused_behind(error)
    if error.status < 500:
        raise error
    return json_reply(f"Hit an exception in {SERVER} calling an inner server: {error.info()}", status=500)


def _error_body(info: ErrorInfo, status: int) -> dict[str, Any]:
    where = ["body", *info.field.split(".")] if info.field else ["body"]
    detail: Any = [{"type": info.code, "loc": where, "msg": info.message}] if status == 422 else info.message
    return {"detail": detail, "error": msgspec.to_builtins(info)}
