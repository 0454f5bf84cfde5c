"""A resources server of NeMo Gym as an environment: `name = nemo_gym+http://host:port` among the agent's environments.

    ours                       theirs
    GET  /manifest          ─▶ GET  /openapi.json      (its POST routes are its tools)
    POST /seed_session      ─▶ POST /seed_session      row; cookies are kept for the session
    POST /{tool}            ─▶ POST /{tool}            arguments; the body is what the policy reads, whatever the status
    POST /verify            ─▶ POST /verify            row and a whole Responses object ─▶ reward
    POST /close_session     ─▶ (cookies forgotten; their sessions end with their server)

A verdict that says of itself that it measured nothing (`mask_sample`, a failure class) is a fault and never a reward.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any

import msgspec
from aiohttp import hdrs

from agent_server.responses import full_response
from gym_core import headers as names
from gym_core.client import Body, Client, Response
from gym_core.contracts import RUN_KEY, Grading
from gym_core.errors import BadSession, EnvironmentFault, JudgeFault, UnknownName

SCHEME = "nemo_gym+"
_ROUTES = frozenset(
    {"seed_session", "verify", "aggregate_metrics", "close_session", "reverify_mode", "mcp", "global_config_dict_yaml"}
)
_OF_OURS = frozenset({"/tasks", "/ingest", "/group_verdict", "/environments"})
_JUDGE = ("judge", "verifier")


class _Info(msgspec.Struct, frozen=True):
    title: str = "nemo_gym"
    version: str = "0"


class _Described(msgspec.Struct, frozen=True):
    """What FastAPI says of a server at `/openapi.json`."""

    info: _Info = _Info()
    paths: dict[str, dict[str, Any]] = {}


@dataclass(slots=True)
class _Episode:
    """One rollout's state at their server: the row that was seeded, and the cookies that name its session."""

    row: dict[str, Any]
    cookies: dict[str, str] = field(default_factory=dict)


class ResourcesServer(Client):
    """Speaks our environment routes to the agent and NeMo Gym's to the server at `base_url`."""

    def __init__(self, base_url: str, **options: Any) -> None:
        super().__init__(base_url.removeprefix(SCHEME), **options)
        self._episodes: dict[str, _Episode] = {}

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        idempotent: bool = False,
        retry: bool = True,
        check: bool = True,
    ) -> Response:
        """One of our environment routes, translated. Raises as `Client.request`."""
        if path == "/manifest":
            return _said(await self._manifest(timeout_s))
        if path == "/seed_session":
            return _said(await self._seed(body, timeout_s))
        if path == "/verify":
            return _said(await self._verify(body, timeout_s))
        if path == "/close_session":
            self._episodes.pop(body["session_id"], None)
            return _said({})
        if path in _OF_OURS:
            raise UnknownName(f"{self.base_url} is a NeMo Gym server, it has no {path}", field="environment")
        return await self._call(path, body, (headers or {}).get(names.SESSION, ""), timeout_s)

    async def _manifest(self, timeout_s: float | None) -> dict[str, Any]:
        try:
            reply = await super().request(hdrs.METH_GET, "/openapi.json", None, None, timeout_s)
            described: _Described = reply.json(_Described)
        except UnknownName:
            described = _Described(
                paths={"/{tool}": {"post": {}}}
            )  # it does not say: what a row declares may be called
        posts = [path.strip("/") for path, methods in described.paths.items() if "post" in methods]
        return {
            "name": described.info.title,
            "version": f"nemo_gym-{described.info.version}",
            "keeps_sessions": True,
            "max_steps": 0,
            # A route with a parameter takes any tool: which ones there are, only the row says.
            "tools": [{"name": name} for name in posts if name and name not in _ROUTES],
        }

    async def _seed(self, body: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
        episode = _Episode({key: value for key, value in body.items() if key != RUN_KEY})
        await self._send(episode, "/seed_session", episode.row, timeout_s)
        session_id = uuid.uuid4().hex
        self._episodes[session_id] = episode
        return {"session_id": session_id}

    async def _call(self, path: str, arguments: bytes, session_id: str, timeout_s: float | None) -> Response:
        episode = self._episode(session_id)
        try:
            parsed = msgspec.json.decode(arguments)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            told = msgspec.json.encode({"error": f"Invalid tool call arguments: {error}"})
            return Response(422, {names.TOOL: "fault"}, told, self.base_url + path)
        reply = await self._send(episode, path, parsed, timeout_s, check=False)
        kind = "ok" if reply.status < 400 else "fault" if reply.status < 500 else "exception"
        return Response(reply.status, {names.TOOL: kind}, reply.body, reply.url)

    async def _verify(self, body: dict[str, Any], timeout_s: float | None) -> dict[str, Any]:
        episode = self._episode(body["session_id"])
        params = episode.row["responses_create_params"]
        about = body.get(RUN_KEY) or {}
        response = full_response(
            body["response"]["output"], params, response_id=f"resp_{about.get('rollout_id') or body['session_id']}"
        )
        reply = await self._send(episode, "/verify", {**episode.row, "response": response}, timeout_s)
        said: Any = reply.json()
        if not isinstance(said, dict):
            raise EnvironmentFault(f"{reply.url} answered {type(said).__name__}, a verdict is an object")
        return {"verdict": _verdict(said, episode.row, reply.url)}

    async def _send(
        self, episode: _Episode, path: str, body: Any, timeout_s: float | None, check: bool = True
    ) -> Response:
        """POST with the session's cookies, and keep what it sets. Never repeated: theirs does not say what may be."""
        sent = {"Cookie": "; ".join(f"{name}={value}" for name, value in episode.cookies.items())}
        headers = sent if episode.cookies else None
        reply = await super().request(hdrs.METH_POST, path, _Json(body), headers, timeout_s, check=check)
        episode.cookies.update(_set_cookies(reply))
        return reply

    def _prepare(self, body: Any, headers: Mapping[str, str] | None, idempotent: bool) -> tuple[Body, dict[str, str]]:
        # `null` and text are arguments too: only what is wrapped is encoded, whatever it is.
        data = msgspec.json.encode(body.value) if isinstance(body, _Json) else body
        sent = {hdrs.CONTENT_TYPE: "application/json", **(headers or {})}
        return super()._prepare(data, sent, idempotent)

    def _episode(self, session_id: str) -> _Episode:
        if session_id not in self._episodes:
            raise BadSession(f"there is no session {session_id!r} at {self.base_url}", field="session_id")
        return self._episodes[session_id]


@dataclass(slots=True, frozen=True)
class _Json:
    value: Any


def _said(value: Any) -> Response:
    return Response(200, {}, msgspec.json.encode(value))


def _set_cookies(reply: Response) -> dict[str, str]:
    several = getattr(reply.headers, "getall", None)
    found: dict[str, str] = {}
    for line in several("Set-Cookie", []) if several else []:
        cookie: SimpleCookie = SimpleCookie()
        try:
            cookie.load(line)
        except CookieError as error:
            raise EnvironmentFault(f"{reply.url} set a cookie that cannot be read: {error}") from None
        found.update({name: morsel.value for name, morsel in cookie.items()})
    return found


def _verdict(said: dict[str, Any], row: dict[str, Any], url: str) -> dict[str, Any]:
    """Their verify reply as a verdict of ours: numbers beside the reward are details, named rewards components."""
    failure = said.get("_ng_failure_class") or said.get("failure_kind")
    if said.get("mask_sample") or said.get("_ng_failure_class"):
        why = said.get("failure_reason") or failure or "it masked the sample"
        fault = JudgeFault if any(word in str(failure) for word in _JUDGE) else EnvironmentFault
        raise fault(f"{url} measured nothing: {why}")
    reward = said.get("reward")
    if isinstance(reward, bool) or not isinstance(reward, int | float):
        raise EnvironmentFault(f"{url} answered no reward but {reward!r:.80}")
    parts = said.get("reward_components") or {}
    if not isinstance(parts, dict) or not all(isinstance(value, int | float) for value in parts.values()):
        raise EnvironmentFault(f"{url} answered reward_components that are no numbers: {parts!r:.80}")
    known = {*row, "response", "reward", "reward_components", "mask_sample"}
    details = {name: value for name, value in said.items() if name not in known and value is not None}
    return {
        "reward": float(reward),
        "components": {name: float(value) for name, value in parts.items()},
        "details": details,
        "grading": Grading.PUBLISHED,
        "gradings": {Grading.PUBLISHED: float(reward)},
    }
