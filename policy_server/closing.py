"""How a policy server ends: what runs may go on for a moment, then it fails as `Unavailable`, told to each client.

    SIGTERM ─▶ no new connections ─▶ up to `DRAIN_S` for what runs ─▶ backend.close ─▶ streams end with an error event

All of it within the grace time that every service keeps (`gym_core.serve.GRACE_S`).
"""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

from policy_server.engine import Engine
from policy_server.requests import Backend
from policy_server.vllm.backend import VllmBackend

DRAIN_S = 1.0
_LOOK_S = 0.05


def close_with(app: web.Application, backend: Backend, drain_s: float = DRAIN_S) -> None:
    """Close `backend` when `app` ends. Requests to an upstream have the server's own grace time."""

    async def drain(_: web.Application) -> None:
        if not isinstance(backend, Engine | VllmBackend):
            return
        end = time.monotonic() + drain_s
        while _busy(backend) and time.monotonic() < end:
            await asyncio.sleep(_LOOK_S)
        await backend.close()

    async def close(_: web.Application) -> None:
        await backend.close()  # also where the app was never served; closing again does nothing

    app.on_shutdown.append(drain)
    app.on_cleanup.append(close)


def _busy(backend: Engine | VllmBackend) -> bool:
    return bool(backend.stats["running"] or backend.stats.get("waiting"))
