"""The worker processes of a service, shared by all its environments.

    copied from the nursery, its classes loaded ─▶ warm the others whenever no job waits ─▶ jobs of any pool ─▶ recycled

Loading has a time limit of its own and never counts as part of a job. A worker that overran, died or ran out of memory
is killed and replaced by a new copy. A class that cannot be loaded fails its own callers only. A worker that was needed
before the nursery had loaded everything is replaced once it has, between two jobs.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Any

from gym_core.errors import Busy, EnvironmentFault, PalaestraError
from gym_core.fair_queue import FairQueue
from gym_core.nursery import Nursery
from gym_core.worker_process import DIED, STARTUP_TIMEOUT_S, Process, Said, Worker

if TYPE_CHECKING:
    from gym_core.workers import WorkerPool

log = logging.getLogger("palaestra.workers")

RETRY_START_S = 2.0
"""After a process that could not start, how long calls fail at once before another start is tried."""

FAREWELL_S = 0.25
"""A job whose caller has gone away ends within this time or is killed: most do end, and a new worker costs more."""

REAP_AFTER_S = 1.0
"""A process that was killed is gone after this time, and is waited for then at the latest, if not with the next one."""


class Crew:
    """`size` processes, started at the first call or by `start()`, each replaced after `max_jobs` jobs."""

    def __init__(self, size: int = 1, *, max_jobs: int = 2000) -> None:
        if size < 1:
            raise ValueError(f"a pool needs at least one worker, not {size}")
        self.size = size
        self.max_jobs = max_jobs
        self._pools: list[WorkerPool] = []
        self._queue: FairQueue[Worker] = FairQueue()
        self._idle: list[Worker] = []
        self._alive: set[Worker] = set()
        self._starting: set[asyncio.Task[None]] = set()
        self._warming: set[asyncio.Task[None]] = set()
        self._running: set[asyncio.Task[Said]] = set()
        self._ended: list[Process] = []
        self._broken: PalaestraError | None = None
        self._broken_until = 0.0
        self._closed = False
        self._nursery = Nursery(self._pools, self._lost, self._discard, self._renew)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are ready or at work."""
        return sorted(worker.process.pid for worker in self._alive)

    def join(self, pool: WorkerPool) -> None:
        """Serve this pool too; its class is warmed when there is time."""
        self._pools.append(pool)
        self._queue.join(pool.lane)
        if self._alive:
            self._nursery.grow()
        self._warm_idle()

    def leave(self, pool: WorkerPool) -> None:
        """Forget a pool; a job of it that runs runs on."""
        if pool in self._pools:
            self._pools.remove(pool)
            self._queue.leave(pool.lane)

    def start(self) -> None:
        """Start what is missing, in the background. Calls do this by themselves."""
        if self._closed or time.monotonic() < self._broken_until:
            return
        for _ in range(self.size - len(self._alive) - len(self._starting)):
            self._spawn(self._start_one(), self._starting)

    async def ready(self) -> None:
        """Wait until the workers have arrived and are warm. Raises what kept the processes from starting."""
        self.start()
        while pending := self._starting | self._warming | self._nursery.growing:
            await asyncio.wait(pending)
        if self._broken is not None:
            raise self._broken

    async def take(self, pool: WorkerPool) -> Worker:
        """An idle worker, or the next one whose turn it is. Raises `Busy`, or why there is none."""
        if self._closed:
            raise _closed_fault()
        lane = pool.lane
        if self._idle:
            self._queue.skip(lane)
            return self._idle.pop(self._best_idle(pool))
        self.start()
        if self._broken is not None and not self._alive and not self._starting:
            raise self._broken
        if lane.full:
            raise Busy(f"{len(lane.waiting)} jobs wait for {self.size} workers already", retry_after_s=1.0)
        waiter = self._queue.wait(lane)
        self._nursery.look()
        try:
            async with asyncio.timeout(pool.queue_timeout_s):
                return await waiter
        except (TimeoutError, asyncio.CancelledError) as error:
            if waiter in lane.waiting:
                lane.waiting.remove(waiter)
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                lane.running -= 1
                self._offer(waiter.result())
            if isinstance(error, TimeoutError):
                raise Busy(f"no worker was free for {pool.queue_timeout_s:g} s", retry_after_s=5.0) from None
            raise

    async def run(self, pool: WorkerPool, worker: Worker, data: bytes, timeout_s: float) -> Said:
        """One job on a worker that was taken. When the caller goes away it has `FAREWELL_S` to end by itself."""
        job = self._spawn(self._run(pool, worker, data, timeout_s), self._running)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(FAREWELL_S, self._give_up, pool, worker, job)
            raise

    def _give_up(self, pool: WorkerPool, worker: Worker, job: asyncio.Task[Said]) -> None:
        """Kill a job that nobody waits for, and with it what it runs in a sandbox. A class that still loads may end."""
        if job.done():
            return
        if pool.spec not in worker.loaded:
            asyncio.get_running_loop().call_later(FAREWELL_S, self._give_up, pool, worker, job)
            return
        pool.kills += 1
        worker.kill()

    async def close(self) -> None:
        """Kill all workers. Callers get `EnvironmentFault`, those in the queue too."""
        self._closed = True
        self._queue.fail(_closed_fault())
        for task in self._starting:
            task.cancel()
        workers = list(self._alive)
        for worker in workers:
            self._discard(worker)
        await self._nursery.close()
        if pending := self._starting | self._warming | self._running:
            await asyncio.wait(pending)
        for worker in workers:
            await worker.dead.wait()
        ended, self._ended = self._ended, []
        if ended:
            await asyncio.to_thread(_reap, ended)

    # Jobs --------------------------------------------------------------------------------------------------------

    async def _run(self, pool: WorkerPool, worker: Worker, data: bytes, timeout_s: float) -> Said:
        """Load the class where it is new here, do the job; afterwards the worker is free, or replaced."""
        lane = pool.lane
        outcome = await self._load(pool, worker)
        if outcome is None:
            began = time.monotonic()
            worker.jobs += 1
            outcome = await worker.answer(data, timeout_s)
            lane.used_s += time.monotonic() - began
            pool.kills += outcome[0] == "overran"
        lane.running -= 1
        self._settle(worker, outcome)
        return outcome

    async def _warm(self, pool: WorkerPool, worker: Worker) -> None:
        self._settle(worker, await self._load(pool, worker) or ("ok",))

    async def _load(self, pool: WorkerPool, worker: Worker) -> Said | None:
        """Have the worker load the pool's class; None once it has, else what went wrong."""
        if pool.spec in worker.loaded:
            return None
        said = await worker.answer(pool.loading_order(), STARTUP_TIMEOUT_S)
        if said[0] == "ok":
            worker.loaded.add(pool.spec)
            pool.loaded()
            self._nursery.grow()
            return None
        if not self._closed:
            pool.cannot_load(said)
        return said

    def _settle(self, worker: Worker, outcome: Said) -> None:
        """A worker is trusted again, or replaced: after an overrun, a death, a full memory, or its number of jobs; also
        where a new one would share more."""
        unsound = outcome[0] in ("overran", "died") or outcome[:2] == ("raised", "MemoryError")
        if unsound or worker.jobs >= self.max_jobs or self._nursery.outgrew(worker):
            self._discard(worker)
            self.start()
        else:
            self._offer(worker)

    def _offer(self, worker: Worker) -> None:
        """Give a free worker to whose turn it is, else let it warm what it has not loaded, else let it rest."""
        if worker not in self._alive or self._queue.serve(worker):
            return
        cold = next((pool for pool in self._pools if pool.wants(worker) and not self._nursery.wants(pool)), None)
        if cold is None:
            self._idle.append(worker)
        else:
            self._spawn(self._warm(cold, worker), self._warming)

    def _warm_idle(self) -> None:
        """Idle workers that lack a class go and load it."""
        for worker in [worker for worker in self._idle if any(pool.wants(worker) for pool in self._pools)]:
            self._idle.remove(worker)
            self._offer(worker)

    def _best_idle(self, pool: WorkerPool) -> int:
        """Place of an idle worker that has the class, else of the last one."""
        return next((place for place, worker in enumerate(self._idle) if pool.spec in worker.loaded), -1)

    def _spawn(self, coroutine: Any, into: set[Any]) -> Any:
        task = asyncio.get_running_loop().create_task(coroutine)
        into.add(task)
        task.add_done_callback(into.discard)
        return task

    # Processes ---------------------------------------------------------------------------------------------------

    async def _start_one(self) -> None:
        worker = await self._nursery.worker()
        if worker is None:
            try:
                worker = await Worker.launch(self._lost)
            except OSError as error:  # no descriptors or processes left
                self._cannot_start(str(error))
                return
            said = await self._greeting(worker)
            if said[0] != "ready":
                self._discard(worker)
                self._cannot_start(worker.ending() if said is DIED else f"it said {said[0]!r}")
                return
        self._broken, self._broken_until = None, 0.0
        self._alive.add(worker)
        self._offer(worker)

    def _cannot_start(self, how: str) -> None:
        """Calls fail at once for a while, those that wait too where no worker is left for them."""
        self._broken = EnvironmentFault(f"no worker process can start: {how}")
        self._broken_until = time.monotonic() + RETRY_START_S
        log.error(self._broken.message)
        self._starting.discard(asyncio.current_task())
        if not self._alive and not self._starting:
            self._queue.fail(self._broken)

    async def _greeting(self, worker: Worker) -> Said:
        try:
            async with asyncio.timeout(STARTUP_TIMEOUT_S):
                return await worker.hello()
        except TimeoutError:
            return ("overran", STARTUP_TIMEOUT_S)
        except asyncio.CancelledError:
            self._discard(worker)
            await worker.dead.wait()
            raise

    def _renew(self) -> None:
        """The nursery has grown: workers without a job are replaced, the others after theirs."""
        if self._closed:
            return
        for worker in [worker for worker in self._idle if self._nursery.outgrew(worker)]:
            self._discard(worker)
        self._warm_idle()
        self.start()

    def _lost(self, worker: Worker) -> None:
        """A connection ended; where the worker was idle nobody else would notice."""
        self._nursery.lost(worker)
        if worker in self._idle:
            log.warning("an idle worker is gone: %s", worker.ending())
            self._discard(worker)
            self.start()

    def _discard(self, worker: Worker) -> None:
        """Kill a worker and forget it."""
        worker.kill()
        self._alive.discard(worker)
        if worker in self._idle:
            self._idle.remove(worker)
        self._ended.append(worker.process)
        self._look_at_ended()
        if self._ended and not self._closed:
            asyncio.get_running_loop().call_later(REAP_AFTER_S, self._look_at_ended)

    def _look_at_ended(self) -> None:
        """Let the kernel forget those that have died."""
        self._ended = [process for process in self._ended if process.poll() is None]


def _closed_fault() -> EnvironmentFault:
    return EnvironmentFault("the worker pool is closed")


def _reap(processes: list[Process]) -> None:
    for process in processes:
        process.wait(timeout=10)
