"""What can be played here, told by the agent server, so that a trainer needs one address.

GET  /environments               manifests of every environment that can be met now
POST /environments/{name}/tasks  {seed, level, count, split, start} ─▶ {"tasks": [row, …]}
"""

from __future__ import annotations

from aiohttp import hdrs, web

from agent_server.directory import Directory
from gym_core.serve import json_reply

DIRECTORY: web.AppKey[Directory] = web.AppKey("directory", Directory)
TASKS_S = 120.0


def add_to(router: web.UrlDispatcher) -> None:
    """Register both routes; the app keeps its directory under `DIRECTORY`."""
    router.add_get("/environments", _environments)
    router.add_post("/environments/{name}/tasks", _tasks)


async def _environments(request: web.Request) -> web.Response:
    peers = await request.app[DIRECTORY].all()
    return json_reply({"environments": [peer.manifest for peer in peers]})


async def _tasks(request: web.Request) -> web.Response:
    peer = await request.app[DIRECTORY].find({"environment": request.match_info["name"]})
    headers: dict[str, str] = {hdrs.CONTENT_TYPE: "application/json"}
    reply = await peer.client.post("/tasks", await request.read() or b"{}", headers, TASKS_S, idempotent=True)
    return web.Response(body=reply.body, content_type="application/json")
