"""A policy and an environment of a few lines each, that misbehave on request."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from aiohttp import web

from gym_core import headers
from gym_core.tokens import FRAME_TYPE, TokenTrace, decode_trace, encode_segment, pack_frame, unpack_frame


def segment(prompt: list[int], sampled: list[int], version: int = 3, forced: tuple[int, ...] = ()) -> bytes:
    """A turn's tokens: `prompt` given, `sampled` by that version with log-probability -0.5 each, but for those at
    the places `forced`, which the policy did not choose."""
    ids = np.array(prompt + sampled, np.int32)
    mask = np.arange(len(ids)) >= len(prompt)
    mask[[len(prompt) + place for place in forced]] = False
    return encode_segment(
        TokenTrace(ids, np.where(mask, -0.5, 0).astype(np.float32), mask, np.where(mask, version, -1).astype(np.int32))
    )


def message(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def call(name: str, arguments: str, call_id: str = "c1") -> dict[str, Any]:
    return {"type": "function_call", "name": name, "arguments": arguments, "call_id": call_id}


class FakePolicy:
    """Answers turn n with the n-th of `turns`: output items, or a function of the request that returns a reply."""

    def __init__(self, *turns: Any) -> None:
        self.turns = turns
        self.requests: list[dict[str, Any]] = []
        self.traces: list[bytes] = []
        self.finish_reason = "stop"
        self.forced: tuple[int, ...] = ()
        self.began: Callable[[int], str] = lambda turn: "start" if turn == 0 else ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/responses", self._turn)
        return app

    async def _turn(self, request: web.Request) -> web.StreamResponse:
        head, blob = unpack_frame(await request.read())
        asked = msgspec.json.decode(head)
        given = asked["request"]["input"]
        number = sum(item.get("type") == "function_call_output" for item in given)
        number += max(0, sum(item.get("role") == "user" for item in given) - 1)
        self.requests.append(asked)
        self.traces.append(bytes(blob))
        turn = self.turns[min(number, len(self.turns) - 1)]
        if callable(turn):
            return await turn(request)
        seen = len(decode_trace(blob)) if blob else 0
        said = {
            "response": {"output": turn, "usage": {"input_tokens": seen + 2, "output_tokens": 3}},
            "began": self.began(number),
            "finish_reason": self.finish_reason,
            "policy_version_min": 3,
            "policy_version_max": 3 + number,
        }
        body = pack_frame(msgspec.json.encode(said), segment([7, 8], [100 + number, 101, 102], 3 + number, self.forced))
        return web.Response(body=body, content_type=FRAME_TYPE)


class FakeEnvironment:
    """Sessions, one `add` tool, and a verdict of 1.0; counts what was opened and closed."""

    def __init__(
        self,
        *,
        keeps_sessions: bool = True,
        tools: tuple[str, ...] = ("add",),
        max_steps: int = 4,
        user: tuple[str | None, ...] | None = None,
    ) -> None:
        self.manifest = {
            "name": "fake",
            "version": "1.2.3",
            "keeps_sessions": keeps_sessions,
            "max_steps": max_steps,
            "tools": [{"name": name, "read_only": name.startswith("get")} for name in tools],
            "aliases": ["fake_simple_agent"],
        }
        if user is not None:
            self.manifest |= {"user_turns": True, "max_turns": 1 + len(user)}
        self.user = user or ()
        self.heard: list[tuple[str, list[dict[str, Any]]]] = []
        self.on_user: Callable[[web.Request], Any] | None = None
        self.opened = 0
        self.closed: list[str] = []
        self.calls: list[tuple[str, bytes]] = []
        self.verified: list[dict[str, Any]] = []
        self.on_verify: Callable[[web.Request], Any] | None = None
        self.on_tool: Callable[[web.Request], Any] | None = None
        self.on_seed: Callable[[web.Request], Any] | None = None
        self.pending = 0
        self.all_closed = asyncio.Event()

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/manifest", self._manifest)
        app.router.add_post("/seed_session", self._seed)
        app.router.add_post("/verify", self._verify)
        app.router.add_post("/group_verdict", self._group)
        app.router.add_post("/close_session", self._close)
        app.router.add_post("/user_turn", self._user)
        app.router.add_post("/{tool}", self._tool)
        return app

    async def _manifest(self, _: web.Request) -> web.Response:
        return web.json_response(self.manifest)

    async def _seed(self, request: web.Request) -> web.StreamResponse:
        if self.on_seed is not None:
            return await self.on_seed(request)
        self.opened += 1
        return web.json_response({"session_id": f"s{self.opened}"})

    async def _tool(self, request: web.Request) -> web.StreamResponse:
        if self.on_tool is not None:
            return await self.on_tool(request)
        self.calls.append((request.match_info["tool"], await request.read()))
        return web.Response(text=f"result {len(self.calls)}", headers={headers.TOOL: "ok"})

    async def _user(self, request: web.Request) -> web.StreamResponse:
        """The n-th of `user` for the n-th key; then nobody is there."""
        key, body = request.headers[headers.IDEMPOTENCY], await request.json()
        if key not in [known for known, _ in self.heard]:
            self.heard.append((key, body["response"]["output"]))
        if self.on_user is not None:
            return await self.on_user(request)
        turn = [known for known, _ in self.heard].index(key)
        message = self.user[turn] if turn < len(self.user) else None
        return web.json_response({"message": message, "turn": turn + 1})

    async def _verify(self, request: web.Request) -> web.StreamResponse:
        self.verified.append(await request.json())
        if self.on_verify is not None:
            return await self.on_verify(request)
        if self.pending:
            return self._pending()
        return web.json_response({"verdict": {"reward": 1.0, "components": {"exact": 1.0}}})

    def _pending(self) -> web.Response:
        return web.json_response({"pending": {"group_id": "g", "have": 1, "want": 2, "deadline_s": 5.0}}, status=202)

    async def _group(self, request: web.Request) -> web.StreamResponse:
        self.pending -= 1
        if self.pending:
            return self._pending()
        return web.json_response({"verdict": {"reward": 0.25}})

    async def _close(self, request: web.Request) -> web.Response:
        self.closed.append((await request.json())["session_id"])
        self.all_closed.set()
        return web.json_response({})
