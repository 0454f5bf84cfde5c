"""Zygotes that wait for work, and callers that wait for zygotes: fair, bounded, and rid of whoever died.

caller ─▶ queue (bounded: Busy) ─▶ a free zygote ─▶ a thread runs the job ─▶ the zygote is free again, or dropped
             └─ deadline or hung up: out of the queue, or the job is killed
"""

from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from gym_core.errors import Busy, DeadlineExceeded
from gym_core.sandbox.faults import SandboxFault
from gym_core.sandbox.run import Limits, Program, Run
from gym_core.sandbox.zygote import Zygote

MAX_ZYGOTES = 64


class Pool:
    """Zygotes come by `add` and leave when they die; `died` is set whenever one has, for whoever replaces them."""

    def __init__(self, queue_limit: int) -> None:
        self.queue_limit = queue_limit
        self.died = asyncio.Event()
        self.num_killed = 0
        self._zygotes: set[Zygote] = set()
        self._idle: deque[Zygote] = deque()
        self._waiting: deque[asyncio.Future[Zygote]] = deque()
        self._threads = ThreadPoolExecutor(MAX_ZYGOTES, thread_name_prefix="sandbox")

    @property
    def size(self) -> int:
        self._drop_dead()
        return len(self._zygotes)

    @property
    def num_waiting(self) -> int:
        return sum(not waiter.done() for waiter in self._waiting)

    @property
    def num_running(self) -> int:
        return len(self._zygotes) - len(self._idle)

    def any(self) -> Zygote | None:
        """One of them, to be asked what it is."""
        return next(iter(self._zygotes), None)

    def add(self, zygote: Zygote) -> None:
        self._zygotes.add(zygote)
        self._free(zygote)

    async def run(self, program: Program, stdin: bytes, limits: Limits, deadline_s: float) -> Run:
        """One job. Raises `Busy` when too many wait, `DeadlineExceeded`, and `SandboxFault` of the sandbox itself.

        A caller that is cancelled takes its job back: it is killed.
        """
        end = asyncio.get_running_loop().time() + deadline_s
        zygote = await self._take(deadline_s)
        job = asyncio.get_running_loop().run_in_executor(self._threads, zygote.run, program, stdin, limits)
        job.add_done_callback(lambda _: self._free(zygote))
        try:
            async with asyncio.timeout_at(end):
                return await asyncio.shield(job)
        except TimeoutError:
            self._kill(zygote, job)
            raise DeadlineExceeded(f"the job was not over after {deadline_s:.3g} s", stage="sandbox") from None
        except asyncio.CancelledError:
            self._kill(zygote, job)
            raise

    def close(self) -> None:
        """End every zygote and what it runs."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(SandboxFault("the sandbox service ends"))
        for zygote in self._idle:
            zygote.close()
        for zygote in self._zygotes - set(self._idle):
            zygote.kill()
        self._threads.shutdown(wait=True)
        for zygote in self._zygotes:
            zygote.close()
        self._zygotes.clear()
        self._idle.clear()

    def _kill(self, zygote: Zygote, job: asyncio.Future[Run]) -> None:
        self.num_killed += 1
        zygote.kill()
        job.add_done_callback(_look)  # its end is nobody's concern any more

    async def _take(self, deadline_s: float) -> Zygote:
        self._drop_dead()
        if self._idle:
            return self._idle.popleft()
        if self.num_waiting >= self.queue_limit:
            raise Busy(f"{self.queue_limit} jobs are waiting already", stage="sandbox", retry_after_s=1.0)
        waiter: asyncio.Future[Zygote] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(deadline_s):
                return await waiter
        except TimeoutError:
            self._give_back(waiter)
            why = "every sandbox is busy" if self._zygotes else "there is no sandbox: none has come to the door"
            raise DeadlineExceeded(f"no turn within {deadline_s:.3g} s: {why}", stage="sandbox") from None
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise

    def _give_back(self, waiter: asyncio.Future[Zygote]) -> None:
        """A zygote that was given to somebody who had just left."""
        if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
            self._free(waiter.result())

    def _free(self, zygote: Zygote) -> None:
        if zygote not in self._zygotes:
            return
        if not zygote.alive:
            self._bury(zygote)
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(zygote)
                return
        self._idle.append(zygote)

    def _drop_dead(self) -> None:
        for zygote in [zygote for zygote in self._idle if not zygote.alive]:
            self._idle.remove(zygote)
            self._bury(zygote)

    def _bury(self, zygote: Zygote) -> None:
        zygote.close()
        self._zygotes.discard(zygote)
        self.died.set()


def _look(job: asyncio.Future[Run]) -> None:
    """Take the outcome of a job that nobody waits for, so that asyncio does not complain of it."""
    if not job.cancelled():
        job.exception()
