"""Sessions of one environment: signed routable ids, one user at a time, swept when idle, closed exactly once.

    id = <worker>.<uuid>.<signature>

The signature tells a forged id from an expired one, and the worker part tells a balancer (or this process) whose it is.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from itsdangerous import BadSignature, Signer

from gym_core.contracts import Task
from gym_core.environment import Environment, Session
from gym_core.errors import BadSession, Busy, EnvironmentFault, PalaestraError
from gym_core.host import settle

log = logging.getLogger("palaestra.sessions")

SWEEPS_PER_TTL = 10


@dataclass(slots=True)
class _Held:
    """A session in the table. `users` counts those inside or waiting; while there are any it is not idle."""

    session: Session
    used_at: float
    key: str
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    closed: bool = False


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
    ) -> None:
        if not worker or "." in worker:
            raise ValueError(f"a worker name is not empty and has no dot, unlike {worker!r}")
        self.ttl_s = environment.session_ttl_s if ttl_s is None else ttl_s
        self.capacity = capacity
        self._environment = environment
        self._worker = worker
        self._signer = Signer(secret, salt=f"palaestra.session.{environment.name}")
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._keys: dict[str, asyncio.Future[str]] = {}
        self._opening = 0
        self._closing: set[asyncio.Task[Exception | None]] = set()

    def __len__(self) -> int:
        return len(self._held)

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
        session_id = self._signer.sign(f"{self._worker}.{uuid.uuid4().hex}").decode()
        session = Session(session_id=session_id, task=task, rng=rng)
        self._opening += 1
        try:
            session.state = await settle(self._environment.setup(task))
        finally:
            self._opening -= 1
        self._held[session_id] = _Held(session, self._clock(), key)
        return session_id

    @asynccontextmanager
    async def using(self, session_id: str) -> AsyncIterator[Session]:
        """The session, held alone until the block ends. Raises `BadSession` for a forged, expired or closed id."""
        held = self._held.get(session_id)
        if held is None:
            raise self._refusal(session_id)
        held.users += 1
        try:
            async with held.lock:
                if held.closed:
                    raise self._refusal(session_id)
                yield held.session
        finally:
            held.users -= 1
            held.used_at = self._clock()

    async def close(self, session_id: str) -> None:
        """Close a session; one that is closed already is no error. Raises `BadSession` for an id that was never ours,
        `EnvironmentFault` when the environment's own `close` raised (the session is gone all the same)."""
        if session_id not in self._held:
            if self._forged(session_id):
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

    def _forged(self, session_id: str) -> bool:
        try:
            return not self._signer.unsign(session_id).startswith(f"{self._worker}.".encode())
        except BadSignature:
            return True

    def _refusal(self, session_id: str) -> BadSession:
        if not self._forged(session_id):
            return BadSession(f"the session is closed, or was idle for {self.ttl_s:g} s", hint="seed a new one")
        worker, _, rest = session_id.partition(".")
        if rest and worker != self._worker and len(session_id) < 200:
            return BadSession(f"the session belongs to worker {worker!r}, this is {self._worker!r}")
        return BadSession(f"this is no session of environment {self._environment.name!r}", hint="POST /seed_session")
