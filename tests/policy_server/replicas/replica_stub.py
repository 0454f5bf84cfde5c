"""A policy server in a few lines, as a process: `python replica_stub.py NUMBER PARENT_PID`."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

from aiohttp import web

from gym_core.errors import BadRequest, Conflict
from gym_core.serve import DOOR, harden, json_reply, run

NUMBER, PARENT = int(sys.argv[1]), int(sys.argv[2])
version = num_publications = 0


async def completions(request: web.Request) -> web.StreamResponse:
    body = await request.json()
    if body.get("hang_on") == NUMBER:
        await asyncio.Event().wait()
    if body.get("poison"):
        os._exit(1)
    if body.get("half_on") == NUMBER:
        half = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "1000"})
        await half.prepare(request)
        await half.write(b'{"replica": ')
        await asyncio.Event().wait()
    if not body.get("stream"):
        return json_reply({"replica": NUMBER, "version": version})
    answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await answer.prepare(request)
    await answer.write(b'data: {"replica": %d}\n\ndata: {"replica": %d, "cut' % (NUMBER, NUMBER))
    await asyncio.Event().wait()
    return answer


async def weights(request: web.Request) -> web.Response:
    body = await request.json()
    if body.get("memory") and NUMBER == 2:
        raise BadRequest("no such memory here", field="memory")
    if body["version"] == 66 and NUMBER == 1:
        await asyncio.Event().wait()
    return take(body)


async def weights_body(request: web.Request) -> web.Response:
    whole = await request.read()
    size = 4 + int.from_bytes(whole[:4], "little")
    head = json.loads(whole[4:size])
    if head.get("path") or head.get("memory") or len(whole) - size != head["nbytes"]:
        raise BadRequest("that is no body of weights", field="body")
    return take(head)


def take(order: dict[str, Any]) -> web.Response:
    global version, num_publications
    if order["version"] <= version:
        raise Conflict("versions only go up")
    version, num_publications = order["version"], num_publications + 1
    return json_reply({"version": version, "checksums": {}, "seconds": {}})


async def score(_: web.Request) -> web.Response:
    off = {77: NUMBER, 78: num_publications}.get(version, 0)
    return json_reply({"logprobs": [[0.0, -1.0 - off]], "policy_version": version})


async def weights_bytes(_: web.Request) -> web.Response:
    return json_reply({"nbytes": 1000})


app = web.Application()
app.router.add_get("/weights/bytes", weights_bytes)
app.router.add_post("/v1/completions", completions)
app.router.add_post("/weights", weights)
app.router.add_post("/weights/body", weights_body)
app.router.add_post("/score", score)
counts = harden(app, "stub")[DOOR].metrics
counts.gauge("palaestra_policy_running", "Policy engine: running").set(NUMBER + 1)
counts.read_counter("palaestra_policy_sampled_tokens", "Policy engine: sampled tokens").read(lambda: 10 * (NUMBER + 1))
run(app, parent_pid=PARENT)
