"""Sessions of one environment: one user at a time, swept when idle, closed exactly once, on disk where that is wanted.

    open ─▶ [ using ]* ─▶ close        with snapshots: each arrow leaves the session on disk as it is, close removes it

Ids are signed and say whose they are (`session_ids.py`). A server that ends leaves sessions with snapshots to its
successor (`restore`) and closes all others.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from gym_core.contracts import Task
from gym_core.environment import Environment, Session
from gym_core.errors import BadSession, Busy, EnvironmentFault, PalaestraError
from gym_core.host import settle
from gym_core.session_ids import SessionIds
from gym_core.snapshots import Snapshot, Snapshots

log = logging.getLogger("palaestra.sessions")

SWEEPS_PER_TTL = 10


@dataclass(slots=True)
class _Held:
    """A session in the table. `users` counts those inside or waiting; while there are any it is not idle. `closed`
    refuses who comes, `kept` is False once its snapshot is gone for good."""

    session: Session
    used_at: float
    key: str
    row: dict[str, Any] = field(default_factory=dict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    closed: bool = False
    kept: bool = True


class Sessions:
    """The sessions that this process holds for one environment."""

    def __init__(
        self,
        environment: Environment,
        *,
        secret: bytes,
        worker: str,
        capacity: int,
        ttl_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        snapshots: Snapshots | None = None,
    ) -> None:
        self.ttl_s = environment.session_ttl_s if ttl_s is None else ttl_s
        self.capacity = capacity
        self._environment = environment
        self.ids = SessionIds(secret, environment.name, worker)
        self._clock = clock
        self._snapshots = snapshots
        self._restoring: asyncio.Task[None] | None = None
        self._held: dict[str, _Held] = {}
        self._keys: dict[str, asyncio.Future[str]] = {}
        self._opening = 0
        self._closing: set[asyncio.Task[Exception | None]] = set()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def kept_on_disk(self) -> bool:
        """Whether sessions outlive this process."""
        return self._snapshots is not None

    async def open(self, task: Task, rng: random.Random, key: str = "") -> str:
        """Set up a session, return its id. The same `key` (Idempotency-Key) again returns the same session.

        Raises `Busy` when the table is full, and whatever `setup` raises; then there is no session.
        """
        if not key:
            return await self._open(task, rng, key)
        if key not in self._keys:
            future = self._keys[key] = asyncio.get_running_loop().create_future()
            try:
                future.set_result(await self._open(task, rng, key))
            except BaseException:
                del self._keys[key]
                future.cancel()
                raise
        future = self._keys[key]
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not future.cancelled():
                raise
            raise Busy("the first request with this Idempotency-Key failed", retry_after_s=0.1) from None

    async def _open(self, task: Task, rng: random.Random, key: str) -> str:
        if len(self._held) + self._opening >= self.capacity:
            await self.sweep()
        if len(self._held) + self._opening >= self.capacity:
            raise Busy(
                f"{self.capacity} sessions of {self._environment.name!r} are open already",
                hint="close sessions that are done, or raise session_capacity",
                retry_after_s=1.0,
            )
        session_id = self.ids.make()
        session = Session(session_id=session_id, task=task, rng=rng)
        self._opening += 1
        try:
            session.state = await settle(self._environment.setup(task))
        finally:
            self._opening -= 1
        held = self._held[session_id] = _Held(session, self._clock(), key)
        if self._snapshots is not None:
            held.row = task.to_row()
            self._snapshots.save(session, held.row, key)
        return session_id

    @asynccontextmanager
    async def using(self, session_id: str) -> AsyncIterator[Session]:
        """The session, held alone until the block ends. Raises `BadSession` for a forged, expired or closed id."""
        held = self._held.get(session_id)
        if held is None and self._restoring is not None:
            await asyncio.shield(self._restoring)
            held = self._held.get(session_id)
        if held is None:
            raise self._refusal(session_id)
        held.users += 1
        try:
            async with held.lock:
                if held.closed:
                    raise self._refusal(session_id)
                try:
                    yield held.session
                finally:
                    if self._snapshots is not None and held.kept:
                        self._snapshots.save(held.session, held.row, held.key)
        finally:
            held.users -= 1
            held.used_at = self._clock()

    async def close(self, session_id: str) -> None:
        """Close a session; one that is closed already is no error. Raises `BadSession` for an id that was never ours,
        `EnvironmentFault` when the environment's own `close` raised (the session is gone all the same)."""
        if session_id not in self._held and self._restoring is not None:
            await asyncio.shield(self._restoring)
        if session_id not in self._held:
            if self.ids.worker_of(session_id) != self.ids.worker:
                raise self._refusal(session_id)
            return
        error = await asyncio.shield(self._start_closing(session_id))
        if error is not None:
            if isinstance(error, PalaestraError):
                raise error
            raise EnvironmentFault(f"`close` raised {type(error).__name__}: {error}", stage="close_session")

    async def sweep(self) -> int:
        """Close the sessions that nobody used for `ttl_s`; how many there were."""
        idle_since = self._clock() - self.ttl_s
        idle = [name for name, held in self._held.items() if held.users == 0 and held.used_at <= idle_since]
        closing = [self._start_closing(name) for name in idle]
        if closing:
            await asyncio.wait(closing)
        return len(idle)

    async def keep_sweeping(self) -> None:
        """Sweep until cancelled."""
        while True:
            await asyncio.sleep(self.ttl_s / SWEEPS_PER_TTL)
            if count := await self.sweep():
                log.info("swept %d idle sessions of %s", count, self._environment.name)

    def restore(self, resolve: Callable[[dict[str, Any]], Awaitable[Task]]) -> None:
        """Begin to bring back what a server before this one left; who asks for such a session waits until it is there.

        `resolve` makes the task of a row again. A session whose task cannot be made is forgotten, and the log says so.
        """
        if self._snapshots is not None:
            self._restoring = asyncio.get_running_loop().create_task(self._restore(self._snapshots, resolve))

    async def _restore(self, snapshots: Snapshots, resolve: Callable[[dict[str, Any]], Awaitable[Task]]) -> None:
        try:
            for snapshot in snapshots.load():
                try:
                    session = snapshots.revive(snapshot, await resolve(snapshot.row))
                except (PalaestraError, ValueError, TypeError) as error:
                    log.warning("a session of %s cannot go on: %s", self._environment.name, error)
                    snapshots.drop(snapshot.session_id)
                else:
                    self._take_up(session, snapshot)
        finally:
            self._restoring = None

    def _take_up(self, session: Session, snapshot: Snapshot) -> None:
        idle_s = max(0.0, time.time() - snapshot.saved_at)
        held = _Held(session, self._clock() - idle_s, snapshot.key, snapshot.row)
        self._held[snapshot.session_id] = held
        if snapshot.key:
            future = self._keys[snapshot.key] = asyncio.get_running_loop().create_future()
            future.set_result(snapshot.session_id)

    async def leave_all(self) -> None:
        """This server ends: sessions with snapshots stay for the next one, all others are closed."""
        if self._restoring is not None:
            self._restoring.cancel()
            await asyncio.wait([self._restoring])
            self._restoring = None
        if self._snapshots is None:
            await self.close_all()
            return
        for session_id, held in list(self._held.items()):
            held.closed = True
            async with held.lock:  # who is inside ends first, and leaves the session on disk as it then is
                if held.kept and self._snapshots.holds(session_id):
                    self._held.pop(session_id, None)
        await self.close_all()

    async def close_all(self) -> None:
        """Close every session and wait until all of them are."""
        for session_id in list(self._held):
            self._start_closing(session_id)
        if self._closing:
            await asyncio.wait(set(self._closing))

    def _start_closing(self, session_id: str) -> asyncio.Task[Exception | None]:
        """Take the session out of the table and close it in a task of its own, which no caller can cancel half-way."""
        held = self._held.pop(session_id)
        held.closed = True
        held.kept = False
        if self._snapshots is not None:
            self._snapshots.drop(session_id)
        if held.key:
            self._keys.pop(held.key, None)
        task = asyncio.get_running_loop().create_task(self._finish(held))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
        return task

    async def _finish(self, held: _Held) -> Exception | None:
        async with held.lock:  # who is inside ends first; who waits behind is refused
            try:
                close: Callable[[Session], Any] = self._environment.close
                await settle(close(held.session))
            except Exception as error:
                log.exception("closing a session of %s failed", self._environment.name)
                return error
        return None

    def _refusal(self, session_id: str) -> BadSession:
        owner = self.ids.worker_of(session_id)
        if owner == self.ids.worker:
            return BadSession(f"the session is closed, or was idle for {self.ttl_s:g} s", hint="seed a new one")
        if owner is not None:
            return BadSession(f"the session belongs to worker {owner!r}, this is {self.ids.worker!r}")
        return BadSession(f"this is no session of environment {self._environment.name!r}", hint="POST /seed_session")
