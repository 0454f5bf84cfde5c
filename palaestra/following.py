"""`palaestra serve --follow FILE`: a policy server that serves what a training run hands over, and then the next.

Until the first hand-over it listens already and answers 503 with the reason; on a new one the port is closed, the
engine with it, and the next checkpoint is served on the same port.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import msgspec
import uvloop
from aiohttp import web

from gym_core.access import Access
from gym_core.errors import PalaestraError, Unavailable
from gym_core.serve import Served, harden, start, watch_parent
from gym_core.telemetry import logger
from palaestra.policies import policy_config, served_app
from palaestra.services import LOOK_EVERY_S, Handover, read_handover

log = logger("policy")


def follow(path: Path, host: str, port: int, parent_pid: int | None, **settings: object) -> None:
    """Serve until SIGTERM. `settings` are the command line's and win over the hand-over's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_Follower(path, host, port, settings).run(parent_pid))


class _Follower:
    def __init__(self, path: Path, host: str, port: int, settings: dict[str, object]) -> None:
        self._path, self._host, self._port, self._settings = path, host, port, settings

    async def run(self, parent_pid: int | None) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if parent_pid is not None:
            watch_parent(parent_pid, stop, loop)
        current = read_handover(self._path)
        served = await self._serve(current)
        ready = {"ready": True, "url": served.url, "pid": os.getpid()}
        print(msgspec.json.encode(ready).decode(), flush=True)
        try:
            while not await _waited(stop, LOOK_EVERY_S):
                latest = read_handover(self._path)
                if latest != current:
                    current = latest
                    await served.close()
                    served = await self._serve(current)
        finally:
            await served.close()

    async def _serve(self, handover: Handover | None) -> Served:
        served = await start(await self._app(handover), self._host, self._port)
        self._port = served.port
        return served

    async def _app(self, handover: Handover | None) -> web.Application:
        if handover is None:
            return _waiting(f"no training run has handed over a policy at {self._path} yet")
        settings = {**handover.settings, **self._settings, "model_name": handover.name}
        try:
            config = policy_config(Path(handover.checkpoint), **settings)
            app = await asyncio.to_thread(served_app, config)
        except PalaestraError as error:
            log.error("cannot serve %s: %s", handover.checkpoint, error.message)
            return _waiting(f"{handover.checkpoint} cannot be served: {error.message}")
        log.info("serving %s as %s", handover.checkpoint, handover.name)
        return app


async def _waited(stop: asyncio.Event, seconds: float) -> bool:
    """Whether `stop` was set within so many seconds."""
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _waiting(why: str) -> web.Application:
    """A server that is up, and has no policy."""
    app = web.Application()

    async def refuse(_: web.Request) -> web.Response:
        raise Unavailable(why, server="policy", retry_after_s=1.0)

    async def alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "policy": None, "reason": why})

    app.router.add_get("/healthz", alive)
    harden(app, "policy", Access.configured(), scope="policy:generate")
    app.router.add_route("*", "/{path:.*}", refuse)
    return app
