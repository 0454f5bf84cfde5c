"""Warm worker processes for what is slow or may hang: hard kill when a job overruns, a new worker in its place.

    pool = WorkerPool("environments.maths.environment:Maths", size=2, timeout_s=10, queue_limit=256)
    verdict = await pool.call("grade", row, None, output)

Workers are fresh interpreters (never forks of this one), started at the first call or by `start()`. Each holds one
object of the class and runs one job at a time. Callers wait in a bounded queue (`Busy` when it is full, or when the
wait gets too long); a caller that goes away leaves its job to finish alone. Workers die with this process.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
import subprocess
import time
from collections import deque
from typing import Any

from gym_core.errors import Busy, DeadlineExceeded, EnvironmentFault, PalaestraError
from gym_core.tools import ToolFault
from gym_core.worker_process import DIED, Worker

log = logging.getLogger("palaestra.workers")

STARTUP_TIMEOUT_S = 60.0
RETRY_START_S = 2.0
"""After a worker that could not start, how long calls fail at once before another start is tried."""


class WorkerPool:
    """`size` processes that each hold one object of the class named by `spec`. Used on one event loop."""

    def __init__(
        self,
        spec: str,
        size: int = 1,
        timeout_s: float = 10.0,
        queue_limit: int = 256,
        memory_limit_mb: int = 4096,
        *,
        max_jobs: int = 2000,
        queue_timeout_s: float = 60.0,
    ) -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least one worker, not {size}")
        self.spec = spec
        self.size = size
        self.timeout_s = timeout_s
        self.queue_limit = queue_limit
        self.memory_limit_mb = memory_limit_mb
        self.max_jobs = max_jobs
        self.queue_timeout_s = queue_timeout_s
        self.kills = 0
        self._idle: list[Worker] = []
        self._alive: set[Worker] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._running: set[asyncio.Task[Any]] = set()
        self._waiting: deque[asyncio.Future[Worker]] = deque()
        self._ended: list[subprocess.Popen[bytes]] = []
        self._broken: PalaestraError | None = None
        self._broken_until = 0.0
        self._closed = False

    @property
    def busy(self) -> int:
        """Jobs that run now."""
        return len(self._running)

    @property
    def queued(self) -> int:
        """Callers that wait for a worker."""
        return len(self._waiting)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are ready or at work."""
        return sorted(worker.process.pid for worker in self._alive)

    def start(self) -> None:
        """Start what is missing, in the background. Calls do this by themselves."""
        if self._closed or time.monotonic() < self._broken_until:
            return
        for _ in range(self.size - len(self._alive) - len(self._starting)):
            task = asyncio.get_running_loop().create_task(self._start_one())
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def ready(self) -> None:
        """Wait until the workers have arrived. Raises what kept them from starting."""
        self.start()
        while self._starting:
            await asyncio.wait(set(self._starting))
        if self._broken is not None:
            raise self._broken

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Run a method of the object in a worker. `timeout_s` replaces the pool's limit on the job itself.

        Raises `Busy`, `DeadlineExceeded` (the worker was killed), `EnvironmentFault`, or the `PalaestraError` or
        `ToolFault` that the method raised.
        """
        try:
            data = pickle.dumps((method, args), pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise EnvironmentFault(f"the arguments of {method!r} cannot travel to a worker: {error}") from None
        worker = await self._take()
        job = asyncio.get_running_loop().create_task(self._run(worker, data, timeout_s or self.timeout_s))
        self._running.add(job)
        job.add_done_callback(self._running.discard)
        return _unwrap(await asyncio.shield(job), method)

    async def close(self) -> None:
        """Kill all workers. Callers get `EnvironmentFault`, those in the queue too."""
        self._closed = True
        self._fail_waiting(self._closed_fault())
        for task in self._starting:
            task.cancel()
        workers = list(self._alive)
        for worker in workers:
            self._discard(worker)
        pending = self._starting | self._running
        if pending:
            await asyncio.wait(pending)
        for worker in workers:
            await worker.dead.wait()
        ended, self._ended = self._ended, []
        if ended:
            await asyncio.to_thread(_reap, ended)

    # The queue ---------------------------------------------------------------------------------------------------

    async def _take(self) -> Worker:
        """An idle worker, or the next one that gets free."""
        if self._closed:
            raise self._closed_fault()
        if self._idle:
            return self._idle.pop()
        self.start()
        if self._broken is not None and not self._alive and not self._starting:
            raise self._broken
        if len(self._waiting) >= self.queue_limit:
            raise Busy(f"{len(self._waiting)} jobs wait for {self.size} workers already", retry_after_s=1.0)
        waiter: asyncio.Future[Worker] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(self.queue_timeout_s):
                return await waiter
        except (TimeoutError, asyncio.CancelledError) as error:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._offer(waiter.result())
            if isinstance(error, TimeoutError):
                raise Busy(f"no worker was free for {self.queue_timeout_s:g} s", retry_after_s=5.0) from None
            raise

    def _offer(self, worker: Worker) -> None:
        """Give a free worker to who waits longest."""
        if worker not in self._alive:
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(worker)
                return
        self._idle.append(worker)

    def _fail_waiting(self, error: PalaestraError) -> None:
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(error)
        self._waiting.clear()

    def _closed_fault(self) -> EnvironmentFault:
        return EnvironmentFault(f"the worker pool of {self.spec} is closed")

    # Workers -----------------------------------------------------------------------------------------------------

    async def _run(self, worker: Worker, data: bytes, timeout_s: float) -> tuple[Any, ...]:
        """One job on this worker; afterwards the worker is free, or replaced where it is not to be trusted."""
        try:
            async with asyncio.timeout(timeout_s):
                outcome = await worker.ask(data)
        except TimeoutError:
            self.kills += 1
            outcome = ("overran", timeout_s)
        if outcome is DIED:
            outcome = ("died", worker.ending())
        unsound = outcome[0] in ("overran", "died") or outcome[:2] == ("raised", "MemoryError")
        if unsound or worker.jobs >= self.max_jobs:
            self._discard(worker)
            self.start()
        else:
            self._offer(worker)
        return outcome

    async def _start_one(self) -> None:
        worker = await Worker.launch(self.spec, self.memory_limit_mb, self._lost)
        try:
            async with asyncio.timeout(STARTUP_TIMEOUT_S):
                said = await worker.hello()
        except TimeoutError:
            said = ("overran", STARTUP_TIMEOUT_S)
        except asyncio.CancelledError:
            self._discard(worker)
            await worker.dead.wait()
            raise
        if said[0] == "ready":
            self._broken, self._broken_until = None, 0.0
            self._alive.add(worker)
            self._offer(worker)
            return
        self._discard(worker)
        self._broken = _startup_fault(self.spec, ("died", worker.ending()) if said is DIED else said)
        self._broken_until = time.monotonic() + RETRY_START_S
        log.error("a worker could not start: %s", self._broken.message)
        if not self._alive and len(self._starting) <= 1:
            self._fail_waiting(self._broken)

    def _lost(self, worker: Worker) -> None:
        """A connection ended; where the worker was idle nobody else would notice."""
        if worker in self._idle:
            log.warning("an idle worker of %s is gone: %s", self.spec, worker.ending())
            self._discard(worker)
            self.start()

    def _discard(self, worker: Worker) -> None:
        """Kill a worker and forget it."""
        worker.kill()
        self._alive.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        self._ended = [process for process in (*self._ended, worker.process) if process.poll() is None]


def _reap(processes: list[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        process.wait(timeout=10)


def _startup_fault(spec: str, said: tuple[Any, ...]) -> EnvironmentFault:
    try:
        _unwrap(said, "starting")
    except (PalaestraError, ToolFault) as error:
        return EnvironmentFault(f"no worker of {spec} can start: {error}", hint=getattr(error, "hint", ""))
    return EnvironmentFault(f"no worker of {spec} can start: it said {said[0]!r}")


def _unwrap(outcome: tuple[Any, ...], method: str) -> Any:
    """The value of a job, or its exception raised here."""
    match outcome:
        case ("ok", value):
            return value
        case ("refused", info):
            raise PalaestraError.from_info(info)
        case ("tool_fault", text):
            raise ToolFault(text)
        case ("overran", limit):
            raise DeadlineExceeded(f"`{method}` took longer than {limit:g} s; its worker was killed")
        case ("died", how):
            raise EnvironmentFault(f"the worker died in `{method}`: {how}")
        case ("raised", name, text, place, trace):
            log.error("%s raised %s in a worker\n%s", method, name, trace)
            raise EnvironmentFault(f"`{method}` raised {name}: {text}", hint=f"raised at {place}" if place else "")
    raise AssertionError(f"a worker answered {outcome!r}")
