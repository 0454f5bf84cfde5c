"""`palaestra serve --replicas N`: policy servers as child processes, and the router in front of them."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from palaestra.processes import ServiceProcess, start_service

if TYPE_CHECKING:
    from aiohttp import web


READY_S = 600.0
"""A large checkpoint takes its time to be read, and replicas read at the same time."""


class _Child:
    """A service as `policy_server.replicas` wants it."""

    def __init__(self, service: ServiceProcess) -> None:
        self.url, self._process = service.url, service.process

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def wait(self) -> None:
        await self._process.wait()


def replicated_app(count: int, arguments: list[str], *, publish_s: float) -> web.Application:
    """The router over `count` processes of `palaestra serve ARGUMENTS`; they end with it, however it ends."""
    from gym_core.access import Access
    from gym_core.auth import own_token
    from policy_server.replicas.router import Router

    logs = Path(tempfile.mkdtemp(prefix="palaestra-replicas-"))

    async def spawn(number: int) -> _Child:
        mine = ["serve", *arguments, "--parent-pid", str(os.getpid())]
        return _Child(await start_service(f"replica-{number}", mine, logs, ready_s=READY_S))

    return Router(count, spawn, token=own_token(), publish_s=publish_s).app(Access.configured())
