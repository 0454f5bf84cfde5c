"""The sandbox as a service: programs come by HTTP, run in a zygote of this machine or a cage at the door.

GET  /          which isolation it gives, how many programs at once, who waits
GET  /healthz   200 while there is a sandbox to run in, else 503
POST /run       a job as a frame (`wire.py`) ─▶ its run as a frame; 429 when too many wait

A caller who hangs up, or whose deadline passes, has its program killed. The service holds no secret that a program
could want: in `door` mode programs run in other containers, and see nothing of this one but a socket they cannot open.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from gym_core.access import Access
from gym_core.errors import PalaestraError, TooLarge, Unavailable
from gym_core.sandbox.door import Door, welcome
from gym_core.sandbox.pool import MAX_ZYGOTES, Pool
from gym_core.sandbox.provider import Provider
from gym_core.sandbox.run import Limits
from gym_core.sandbox.wire import pack_run, unpack_job
from gym_core.sandbox.zygote import Zygote
from gym_core.serve import DOOR, deadline_s, harden, json_reply
from gym_core.telemetry import logger
from gym_core.tokens import FRAME_TYPE

log = logger("sandbox")

MOST_S = 600.0
RETRY_S = 5.0
LARGEST = Limits(cpu_s=120.0, wall_s=300.0, memory_mb=4096, output_bytes=64 << 20, disk_mb=512, inodes=65536)
"""No job may ask for more."""

Supply = Callable[[Pool], contextlib.AbstractAsyncContextManager[None]]


class SandboxServiceConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`door`: where cages come to, empty for sandboxes of this machine. `slots` of those, of `provider` (empty: the
    strongest). `queue_limit` jobs may wait; beyond it 429."""

    door: str = ""
    provider: str = ""
    slots: int = 2
    queue_limit: int = 256

    def __post_init__(self) -> None:
        if not 1 <= self.slots <= MAX_ZYGOTES:
            raise ValueError(f"slots is between 1 and {MAX_ZYGOTES}, not {self.slots}")
        if self.queue_limit < 1:
            raise ValueError(f"queue_limit must be at least 1, not {self.queue_limit}")


def build_app(
    supply: Supply, *, name: str, strong: bool, queue_limit: int, token: Access | str | None
) -> web.Application:
    """The service over whatever `supply` puts into its pool; `name` and `strong` are what it says of its isolation."""
    app = web.Application()
    routes = _Routes(name, strong, queue_limit)

    async def life(_: web.Application) -> AsyncIterator[None]:
        routes.pool = Pool(queue_limit)
        async with supply(routes.pool):
            yield
        await asyncio.to_thread(routes.pool.close)

    app.cleanup_ctx.append(life)
    app.router.add_get("/", routes.about)
    app.router.add_get("/healthz", routes.healthz)
    app.router.add_post("/run", routes.run)
    harden(app, "sandbox", token, scope="sandbox:run")
    metrics = app[DOOR].metrics
    for what, read in (
        ("palaestra_sandboxes", lambda: routes.pool.size),
        ("palaestra_sandbox_jobs_running", lambda: routes.pool.num_running),
        ("palaestra_sandbox_jobs_waiting", lambda: routes.pool.num_waiting),
        ("palaestra_sandbox_jobs_killed", lambda: routes.pool.num_killed),
    ):
        metrics.gauge(what, f"{what.removeprefix('palaestra_').replace('_', ' ')} now").set_function(read)
    return app


class _Routes:
    pool: Pool

    def __init__(self, name: str, strong: bool, queue_limit: int) -> None:
        self._name, self._strong, self._queue_limit = name, strong, queue_limit

    async def about(self, _: web.Request) -> web.Response:
        zygote = self.pool.any()
        if zygote is None:
            raise Unavailable("no sandbox is there yet", stage="sandbox", retry_after_s=1.0)
        said: dict[str, Any] = {"isolation": self._name, "strong": self._strong, "python": zygote.python}
        state = {"sandboxes": self.pool.size, "running": self.pool.num_running, "waiting": self.pool.num_waiting}
        return json_reply({**said, **state, "queue_limit": self._queue_limit, "cage": zygote.cage})

    async def healthz(self, _: web.Request) -> web.Response:
        size = self.pool.size
        return json_reply({"status": "ok" if size else "no sandbox", "sandboxes": size}, 200 if size else 503)

    async def run(self, request: web.Request) -> web.Response:
        program, stdin, limits = unpack_job(await request.read())
        _refuse_too_much(limits)
        run = await self.pool.run(program, stdin, limits, deadline_s(request, MOST_S))
        return web.Response(body=pack_run(run), content_type=FRAME_TYPE)


def _refuse_too_much(limits: Limits) -> None:
    for name in ("cpu_s", "wall_time_s", "memory_mb", "output_bytes", "processes", "files", "disk_mb", "inodes"):
        asked, most = getattr(limits, name), getattr(LARGEST, name)
        if asked > most:
            raise TooLarge(f"a job here gets {name} {most} at most, not {asked}", field=f"limits.{name}")


def from_door(path: Path) -> Supply:
    """Cages, as they come."""

    @contextlib.asynccontextmanager
    async def supply(pool: Pool) -> AsyncIterator[None]:
        door = Door(path)
        task = asyncio.create_task(_admit(door, pool))
        try:
            yield
        finally:
            await _ended(task)
            door.close()

    return supply


async def _admit(door: Door, pool: Pool) -> None:
    loop = asyncio.get_running_loop()
    while True:
        control, _ = await loop.sock_accept(door.socket)
        if pool.size >= MAX_ZYGOTES:
            control.close()
            continue
        try:
            pool.add(await asyncio.to_thread(welcome, control))
            log.info("a cage has come: %d now", pool.size)
        except PalaestraError as error:
            log.error("a cage was turned away: %s", error.message)


def from_provider(provider: Provider, slots: int) -> Supply:
    """So many zygotes of this machine, each replaced when it dies. The first must start."""

    @contextlib.asynccontextmanager
    async def supply(pool: Pool) -> AsyncIterator[None]:
        pool.add(await asyncio.to_thread(_start, provider))
        task = asyncio.create_task(_replace(provider, slots, pool))
        try:
            yield
        finally:
            await _ended(task)

    return supply


async def _replace(provider: Provider, slots: int, pool: Pool) -> None:
    while True:
        pool.died.clear()
        try:
            while pool.size < slots:
                pool.add(await asyncio.to_thread(_start, provider))
        except PalaestraError as error:
            log.error("no new sandbox: %s", error.message)
            await asyncio.sleep(RETRY_S)
            continue
        await pool.died.wait()


def _start(provider: Provider) -> Zygote:
    zygote = provider.start()
    assert isinstance(zygote, Zygote), "a service over another service would only be a detour"
    return zygote


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
