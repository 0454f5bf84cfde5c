"""A service on an event loop of its own, in a thread: what a Ray actor holds, and a test or a laptop as well.

Inside a Ray actor a service listens on the address of its node where a token is set, so that other nodes reach it;
without a token nothing listens beyond loopback.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import uvloop
from aiohttp import web

from gym_core.access import Access
from gym_core.errors import Unavailable
from gym_core.serve import Served, start

START_TIMEOUT_S = 60.0


class AppHost:
    """Builds an app in a thread of its own and serves it until it is closed, or its process ends.

    Raises `Unavailable` where that takes more than `ready_s`.
    """

    def __init__(self, build: Callable[[], web.Application], port: int = 0, ready_s: float = START_TIMEOUT_S) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name=type(self).__name__, daemon=True)
        self._thread.start()
        try:
            self._served: Served = self._run(self._start(build, port), ready_s)
        except BaseException:
            self._loop.call_soon_threadsafe(self._loop.stop)  # nobody waits: what it builds may take its time
            raise

    def _run_loop(self) -> None:
        try:
            self._loop.run_forever()
            self._loop.run_until_complete(_cancel_the_rest())
        finally:
            self._loop.close()

    @staticmethod
    async def _start(build: Callable[[], web.Application], port: int) -> Served:
        return await start(build(), node_address(), port, Access.configured())

    def _run(self, work: Any, timeout_s: float) -> Any:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout_s)
        except TimeoutError:
            future.cancel()
            what = type(self).__name__
            raise Unavailable(f"{what} was not ready after {timeout_s:.0f} s", stage="start") from None

    def url(self) -> str:
        return self._served.url

    def close(self) -> None:
        self._run(self._served.close(), START_TIMEOUT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


async def _cancel_the_rest() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)


class EnvironmentHost(AppHost):
    """Serves environments, each under its name."""

    def __init__(self, names: Sequence[str], port: int = 0) -> None:
        super().__init__(partial(_environments, list(names)), port)


def _environments(names: list[str]) -> web.Application:
    from gym_core.registry import Registry
    from gym_core.server import build_app

    registry = Registry.discover()
    return build_app([registry.load(name) for name in names])


def node_address() -> str:
    """Where others reach this process: its Ray node's address where that is allowed, loopback elsewhere."""
    ray = sys.modules.get("ray")
    if ray is None or not ray.is_initialized() or not Access.configured():
        return "127.0.0.1"
    return str(ray.util.get_node_ip_address())
