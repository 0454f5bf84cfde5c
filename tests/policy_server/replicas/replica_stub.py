"""A policy server in a few lines, as a process: `python replica_stub.py NUMBER PARENT_PID`."""

from __future__ import annotations

import asyncio
import sys

from aiohttp import web

from gym_core.errors import Conflict
from gym_core.serve import harden, json_reply, run

NUMBER, PARENT = int(sys.argv[1]), int(sys.argv[2])
version = 0


async def completions(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    if body.get("hang_on") == NUMBER:
        await asyncio.Event().wait()
    if not body.get("stream"):
        return json_reply({"replica": NUMBER, "version": version})
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    await answer.write(b'data: {"replica": %d}\n\n' % NUMBER)
    await asyncio.Event().wait()
    return answer


async def weights(request: web.Request) -> web.Response:
    global version
    body = await request.json()
    if body["version"] <= version:
        raise Conflict("versions only go up")
    if body["version"] == 66 and NUMBER == 1:
        await asyncio.Event().wait()
    version = body["version"]
    return json_reply({"version": version, "checksums": {}, "seconds": {}})


async def score(_: web.Request) -> web.Response:
    return json_reply({"logprobs": [[0.0, -1.0 - (NUMBER if version == 77 else 0)]], "policy_version": version})


async def weights_bytes(_: web.Request) -> web.Response:
    return json_reply({"nbytes": 1000})


app = web.Application()
app.router.add_get("/weights/bytes", weights_bytes)
app.router.add_post("/v1/completions", completions)
app.router.add_post("/weights", weights)
app.router.add_post("/score", score)
run(harden(app, "stub"), parent_pid=PARENT)
