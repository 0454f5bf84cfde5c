"""A policy that misbehaves in every way we could think of: which way follows from the rollout's id alone."""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web
from fakes import call, message, segment

from gym_core import headers
from gym_core.tokens import FRAME_TYPE, pack_frame

Reply = Callable[[web.Request], Any]
GOOD = {"output": [message("4")], "usage": {"input_tokens": 2, "output_tokens": 3}}


def head(response: Any = None, **said: Any) -> bytes:
    told = {"response": GOOD if response is None else response, "began": "start", "finish_reason": "stop", **said}
    return msgspec.json.encode(told)


def frame(head_bytes: bytes, blob: bytes | None = None) -> bytes:
    return pack_frame(head_bytes, segment([7, 8], [100, 101, 102]) if blob is None else blob)


def says(body: bytes, status: int = 200, content_type: str = FRAME_TYPE, **more: str) -> Reply:
    async def reply(_: web.Request) -> web.Response:
        return web.Response(body=body, status=status, content_type=content_type, headers=more)

    return reply


def with_header(**changed: int) -> bytes:
    """A segment whose header lies about a count: magic, bytes, tokens, version spans, kind spans, …, trainable."""
    layout = struct.Struct("<4sIIIIHHI")
    names = ("magic", "total", "tokens", "versions", "kinds", "layers", "top_k", "trainable")
    blob = segment([7, 8], [100, 101, 102])
    values = dict(zip(names, layout.unpack_from(blob), strict=True)) | changed
    return layout.pack(*values.values()) + blob[layout.size :]


async def hangs(_: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def breaks_off(request: web.Request) -> web.StreamResponse:
    """Half of the promised body, then the connection is gone."""
    whole = frame(head())
    reply = web.StreamResponse(headers={"Content-Length": str(len(whole)), "Content-Type": FRAME_TYPE})
    await reply.prepare(request)
    await reply.write(whole[: len(whole) // 2])
    assert request.transport is not None
    request.transport.close()
    return reply


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.StreamResponse()


def usage(said: Any) -> Reply:
    return says(frame(head({**GOOD, "usage": said})))


def output(said: Any) -> Reply:
    return says(frame(head({**GOOD, "output": said})))


FAULTS: dict[str, Reply] = {
    "hangs": hangs,
    "breaks off": breaks_off,
    "hangs up": hangs_up,
    "500 text": says(b"Internal Server Error", 500, "text/plain"),
    "500 ours": says(b'{"error": {"code": "internal", "message": "boom", "server": "policy"}}', 500),
    "503": says(b"", 503),
    "429 for an hour": says(b"", 429, **{"Retry-After": "3600"}),
    "400": says(b'{"error": {"code": "bad_request", "message": "no"}}', 400),
    "moved": says(b"", 302, Location="/elsewhere"),
    "html": says(b"<html>welcome</html>", content_type="text/html"),
    "empty": says(b""),
    "cut": says(frame(head())[:-5]),
    "longer than it says": says(frame(head()) + b"more"),
    "head longer than the body": says(struct.pack("<II", 1 << 30, 4) + b"{}"),
    "head is no JSON": says(frame(b"{]")),
    "head is a list": says(frame(b"[]")),
    "no output": says(frame(head({"usage": {}}))),
    "versions that are no numbers": says(frame(head(policy_version_min="new"))),
    "segment cut": says(frame(head(), segment([7], [1, 2])[:-3])),
    "segment says more bytes": says(frame(head(), with_header(total=1 << 20))),
    "segment says more tokens": says(frame(head(), with_header(tokens=4000))),
    "segment says fewer tokens": says(frame(head(), with_header(tokens=1))),
    "segment says more to train": says(frame(head(), with_header(trainable=6))),
    "two segments": says(frame(head(), segment([7], [1]) + segment([8], [2]))),
    "output is text": output("4"),
    "items are text": output(["4"]),
    "arguments are an object": output([{"type": "function_call", "name": "add", "arguments": {"a": 1}}]),
    "name is a number": output([{"type": "function_call", "name": 7, "arguments": "{}"}]),
    "usage is text": usage("many"),
    "usage counts in words": usage({"output_tokens": "three"}),
    "usage is negative": usage({"input_tokens": 2, "output_tokens": -3}),
}


ENDLESS = ("hangs", "429 for an hour")
"""Faults that only a deadline ends."""


class FaultyPolicy:
    """Answers well, calls a tool first, or fails: drawn from the rollout's id."""

    def __init__(self, share_of_faults: float = 0.5) -> None:
        self.share_of_faults = share_of_faults
        self.asked = 0

    def fault_of(self, rollout_id: str) -> str:
        """The name of the fault this rollout meets, "" for none."""
        draw = random.Random(rollout_id)
        return draw.choice(sorted(FAULTS)) if draw.random() < self.share_of_faults else ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/responses", self._turn)
        return app

    async def _turn(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        rollout_id, _, step = request.headers[headers.IDEMPOTENCY].rpartition("-")
        tool_first = random.Random(rollout_id + "tool").random() < 0.5
        if tool_first and step == "0":
            return await says(frame(head({**GOOD, "output": [call("add", "{}")]})))(request)
        fault = self.fault_of(rollout_id)
        if fault:
            return await FAULTS[fault](request)
        return await says(frame(head(began="" if tool_first else "start")))(request)
