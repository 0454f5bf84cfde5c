"""Policy servers as processes that are watched: who is up, who gets a request, what happens when one is gone.

spawn ─▶ takes the current weights ─▶ up ─▶ its process ends, or it says nothing for too long
  ▲                                                    │
  └──────────────────── killed, its requests go elsewhere ◀┘
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import aiohttp

from gym_core.client import Client, Token
from gym_core.errors import PalaestraError, Unavailable

log = logging.getLogger(__name__)


class Process(Protocol):
    """A policy server that was started."""

    url: str

    def kill(self) -> None:
        """End it now, whatever it does."""
        ...

    async def wait(self) -> None:
        """Return once it has ended."""
        ...


Spawn = Callable[[int], Awaitable[Process]]
"""Starts replica number so and so; returns once it listens."""


class Replica:
    """One of them. `gone` is set when the process that serves now is given up."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: Process | None = None
        self.client: Client | None = None
        self.up = False
        self.gone = asyncio.Event()
        self.num_requests = self.num_running = self.num_restarts = 0
        self.version = 0

    def asked(self) -> Client:
        """Its client. Raises `Unavailable` where it has none."""
        if self.client is None:
            raise Unavailable(f"replica {self.number} is gone", stage="route")
        return self.client


class Pool:
    """Keeps `count` replicas running; `start` it, `choose` one for each request, `close` it.

    `welcome(replica)` brings a fresh one up to date before it gets requests. A replica that does not answer
    `/healthz` within `health_s` is given up.
    """

    def __init__(
        self,
        count: int,
        spawn: Spawn,
        welcome: Callable[[Replica], Awaitable[None]],
        *,
        token: Token = None,
        health_s: float = 5.0,
        every_s: float = 1.0,
    ) -> None:
        self.replicas = [Replica(number) for number in range(count)]
        self._spawn, self._welcome, self._token = spawn, welcome, token
        self._health_s, self._every_s = health_s, every_s
        self._changed = asyncio.Condition()
        self._keepers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start all; returns when all are up. Raises what the first of those that failed raised, once all are ended."""
        try:
            # every one of them is waited for: one that is still on its way would be left behind
            launched = (self._launch(replica) for replica in self.replicas)
            for failure in await asyncio.gather(*launched, return_exceptions=True):
                if failure is not None:
                    raise failure
        except BaseException:
            await self.close()
            raise
        self._keepers = [asyncio.create_task(self._keep(replica)) for replica in self.replicas]

    def choose(self, key: str, tried: set[int]) -> Replica | None:
        """Who gets a request: for a key always the same while it is up, so that its cache helps; else the idlest.

        Keys spread by rendezvous: when a replica goes, only its own keys move.
        """
        up = [replica for replica in self.replicas if replica.up and replica.number not in tried]
        if not up:
            return None
        if key:
            return max(up, key=lambda replica: hashlib.blake2b(f"{replica.number} {key}".encode()).digest())
        return min(up, key=lambda replica: (replica.num_running, replica.num_requests))

    async def wait_for_one(self, timeout_s: float, tried: Mapping[int, Process | None] | None = None) -> None:
        """Until a replica is up whose process is none of those that were `tried`. Raises `Unavailable`."""
        asked = tried or {}
        try:
            async with asyncio.timeout(timeout_s), self._changed:
                await self._changed.wait_for(lambda: len(self.still(asked)) < sum(each.up for each in self.replicas))
        except TimeoutError:
            raise Unavailable(f"no replica was up for {timeout_s:g} s", stage="route", retry_after_s=1.0) from None

    def still(self, tried: Mapping[int, Process | None]) -> set[int]:
        """The numbers of those tried that are up with the process that was tried."""
        return {n for n, process in tried.items() if self.replicas[n].up and self.replicas[n].process is process}

    def evict(self, replica: Replica, why: str, process: Process | None = None) -> None:
        """Give a replica's process up; its keeper starts another. Requests that it has go elsewhere at once.

        Where it is given up already, or another one has taken the place of `process`, nothing is done.
        """
        if replica.gone.is_set() or (process is not None and process is not replica.process):
            return
        log.warning("replica %d is given up: %s", replica.number, why)
        replica.up = False
        replica.gone.set()
        if replica.process is not None:
            replica.process.kill()

    async def close(self) -> None:
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        for replica in self.replicas:
            replica.up = False
            replica.gone.set()
            await self._end(replica)

    async def _launch(self, replica: Replica) -> None:
        process = await self._spawn(replica.number)
        replica.process = process
        replica.client = Client(process.url, token=self._token, retries=0)
        replica.gone = asyncio.Event()
        await self._welcome(replica)
        replica.up = True  # at once: the next publication may wait for nothing else, and must not miss it
        async with self._changed:
            self._changed.notify_all()

    async def _keep(self, replica: Replica) -> None:
        """Watch a replica for ever, and replace it whenever it is gone."""
        while True:
            if replica.up:
                await self._watch(replica)
            await self._end(replica)
            replica.num_restarts += 1
            try:
                await self._launch(replica)
            except (PalaestraError, OSError, ValueError, RuntimeError) as error:  # whatever it was: it is tried again
                log.warning("replica %d did not start: %s", replica.number, error)
                await asyncio.sleep(self._every_s)

    async def _watch(self, replica: Replica) -> None:
        """Until the replica's process has ended or is given up."""
        assert replica.process is not None and replica.client is not None
        ended = asyncio.create_task(replica.process.wait())
        given_up = asyncio.create_task(replica.gone.wait())
        try:
            while True:
                done, _ = await asyncio.wait((ended, given_up), timeout=self._every_s, return_when="FIRST_COMPLETED")
                if done:
                    self.evict(replica, "its process has ended" if ended in done else "it was evicted")
                    return
                try:
                    await replica.client.get("/healthz", timeout_s=self._health_s)
                except PalaestraError as error:
                    self.evict(replica, f"it does not answer: {error}")
                    return
        finally:
            ended.cancel()
            given_up.cancel()

    async def _end(self, replica: Replica) -> None:
        if replica.process is not None:
            replica.process.kill()
            await replica.process.wait()
        if replica.client is not None:
            await replica.client.close()
        replica.process = replica.client = None


def nobody() -> PalaestraError:
    return Unavailable("no replica is up", stage="route", retry_after_s=1.0)


async def unless_gone(replica: Replica, work: Awaitable[Any]) -> Any:
    """What `work` returns. Raises `Unavailable` as soon as the replica is given up, or when its connection breaks."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(replica.gone.wait())
    try:
        await asyncio.wait((task, gone), return_when="FIRST_COMPLETED")
        if task.done():
            return task.result()
        raise Unavailable(f"replica {replica.number} was given up", stage="route", server="policy")
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"replica {replica.number} is gone: {error}", stage="route", server="policy") from None
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, aiohttp.ClientError, OSError, PalaestraError):
                await task
