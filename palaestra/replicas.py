"""Several policy servers and the router in front of them, as `palaestra serve --replicas N` and training start them.

served   child processes of the command
placed   where the placement has room: processes of this machine, or Ray actors in bundles of their own
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gym_core.errors import PalaestraError, Unavailable
from palaestra.policies import READY_S
from palaestra.processes import ServiceProcess, start_service

if TYPE_CHECKING:
    from aiohttp import web

    from policy_server.config import PolicyConfig
    from trainer.handles import Apart
    from trainer.placement import Placement

HEALTH_S = 20.0
"""Beside a learner on the same cores a healthy replica may be silent for a while; one that died is noticed at once."""


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


class _Actor:
    """A placed policy server as `policy_server.replicas` wants it."""

    def __init__(self, handle: Apart, url: str) -> None:
        self.url, self._handle = url, handle

    def kill(self) -> None:
        self._handle.kill()

    async def wait(self) -> None:
        await self._handle.ended()


def placed_app(placement: Placement, count: int, settings: PolicyConfig, *, publish_s: float) -> web.Application:
    """The router over `count` policy servers that the placement makes, and makes again where one is lost.

    They end with the app. `publish_s`: seconds until a replica without new weights is replaced.
    """
    from gym_core.access import Access
    from gym_core.auth import own_token
    from palaestra.placed import PolicyHost
    from policy_server.replicas.router import Router

    async def place(number: int) -> _Actor:
        handle = await placement.place_apart(f"policy-{number}", PolicyHost, settings)
        try:
            return _Actor(handle, str(await handle.call("url")))
        except BaseException:
            handle.kill()
            raise

    async def spawn(number: int) -> _Actor:
        try:
            return await place(number)
        except PalaestraError:
            raise
        except Exception as error:  # of the factory or of Ray: to whoever keeps replicas a start that is tried again
            what = f"replica {number} could not be placed: {type(error).__name__}: {error}"
            raise Unavailable(what, stage="place", server="policy") from error

    router = Router(count, spawn, token=own_token(), publish_s=publish_s, health_s=HEALTH_S)
    return router.app(Access.configured())
