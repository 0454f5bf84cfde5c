"""The checked environment as a service of its own: `python -m gym_core.check.service PLACE NAME PARENT_PID [RECORDED]`.

The same application as `palaestra env serve`, on the plain event loop (whose sockets the guard can see), with one route
more: `POST /_check/reap` lets every idle session expire now and answers how many there were. Verdicts are not cached,
so that each is really given; with RECORDED, a file of judgements, the author's `judge` is heard.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from aiohttp import web

from gym_core.judge.config import JudgeConfig
from gym_core.registry import Registry
from gym_core.serve import json_reply, start
from gym_core.server import SERVICES, EnvironmentServiceConfig, build_app
from gym_core.worker_main import die_with


def main(place: str, name: str, parent_pid: int, recorded: str = "") -> None:
    """Serve until SIGTERM, or until the gate is gone."""
    die_with(parent_pid)
    out = os.dup(1)
    os.dup2(2, 1)  # what the author prints must not mix with the address
    config = EnvironmentServiceConfig(workers=1, worker="check", verdict_cache=0)
    app = build_app([Registry.at(place).load(name)], config, JudgeConfig(recorded=recorded))
    app.router.add_post("/_check/reap", reap)
    asyncio.run(serve(app, out))


async def serve(app: web.Application, out: int) -> None:
    """Say the address on `out`, then serve."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with await start(app, grace_s=1.0) as served:
        os.write(out, f"{served.url}\n".encode())
        os.close(out)
        await stop.wait()


async def reap(request: web.Request) -> web.Response:
    """Let every idle session expire."""
    (service,) = request.app[SERVICES].values()
    ttl_s, service.sessions.ttl_s = service.sessions.ttl_s, 0.0
    try:
        return json_reply({"swept": await service.sessions.sweep(), "open": len(service.sessions)})
    finally:
        service.sessions.ttl_s = ttl_s


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
