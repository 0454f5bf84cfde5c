"""Warm worker processes for what is slow or may hang: hard kill when a job overruns, a new worker in its place.

    pool = WorkerPool("environments.maths.environment:Math", timeout_s=10, queue_limit=256, crew=crew)
    verdict = await pool.call("grade", row, None, output)

A pool is one class with its limits; the processes belong to a `Crew`, which any number of pools share (without one, a
pool has its own). Workers are never forks of this process but of one that has loaded the classes and knows nothing else
(`gym_core.nursery`), or fresh interpreters; each has one object of every class and runs one job at a time. Callers wait
in the pool's own bounded queue (`Busy` when it is full, or when the wait gets too long); the job of a caller that goes
away is killed unless it ends soon. Workers die with this process.
"""

from __future__ import annotations

import logging
import pickle
import time
from typing import Any

from gym_core.crew import RETRY_START_S, Crew
from gym_core.errors import BadRequest, DeadlineExceeded, EnvironmentFault, PalaestraError
from gym_core.fair_queue import Lane, fail
from gym_core.tools import ToolFault
from gym_core.worker_process import Said, Worker

log = logging.getLogger("palaestra.workers")

MAX_RETRY_S = 60.0
"""A class that cannot be loaded is tried again after 2 s, 4 s, … and at last this long: each try costs a worker."""


class WorkerPool:
    """Calls on one object of the class named by `spec`, in worker processes. Used on one event loop."""

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
        crew: Crew | None = None,
    ) -> None:
        self.spec = spec
        self.timeout_s = timeout_s
        self.memory_limit_mb = memory_limit_mb
        self.queue_timeout_s = queue_timeout_s
        self.kills = 0
        self.lane: Lane[Worker] = Lane(queue_limit)
        self.crew = crew or Crew(size, max_jobs=max_jobs)
        self._owns_crew = crew is None
        self._fault: EnvironmentFault | None = None
        self._faults = 0
        self._fault_until = 0.0
        self._closed = False
        self.crew.join(self)

    @property
    def size(self) -> int:
        """Processes that may work for this pool at once."""
        return self.crew.size

    @property
    def busy(self) -> int:
        """Jobs that run now."""
        return self.lane.running

    @property
    def queued(self) -> int:
        """Callers that wait for a worker."""
        return len(self.lane.waiting)

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers that are ready or at work."""
        return self.crew.pids

    def start(self) -> None:
        """Start the workers that are missing, in the background. Calls do this by themselves."""
        self.crew.start()

    async def ready(self) -> None:
        """Wait until the workers have arrived and are warm. Raises what kept them, or this class, from starting."""
        await self.crew.ready()
        if self._fault is not None:
            raise self._fault

    async def call(self, method: str, *args: Any, timeout_s: float | None = None) -> Any:
        """Run a method of the object in a worker. `timeout_s` replaces the pool's limit on the job itself.

        Raises `Busy`, `DeadlineExceeded` (the worker was killed), `EnvironmentFault`, or the `PalaestraError` or
        `ToolFault` that the method raised.
        """
        if self._closed:
            raise self._closed_fault()
        if self._fault is not None and time.monotonic() < self._fault_until:
            raise self._fault
        try:
            data = pickle.dumps((self.spec, self.memory_limit_mb, method, args), pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise EnvironmentFault(f"the arguments of {method!r} cannot travel to a worker: {error}") from None
        except RecursionError:
            raise BadRequest("what was sent is nested too deeply to travel to a worker") from None
        worker = await self.crew.take(self)
        outcome = await self.crew.run(self, worker, data, timeout_s or self.timeout_s)
        if self._fault is not None and self.spec not in worker.loaded:
            raise self._fault
        return _unwrap(outcome, method)

    async def close(self) -> None:
        """Take no more calls; those in the queue get `EnvironmentFault`. A crew of its own ends too, jobs included."""
        self._closed = True
        fail(self.lane, self._closed_fault())
        self.crew.leave(self)
        if self._owns_crew:
            await self.crew.close()

    # What the crew asks and says -----------------------------------------------------------------------------------

    def wants(self, worker: Worker) -> bool:
        """Whether this worker should load the class ahead of its first job."""
        return self._fault is None and self.spec not in worker.loaded

    @property
    def sound(self) -> bool:
        """Whether the class could be loaded when it was last tried, or was not tried yet."""
        return self._fault is None

    def loading_order(self) -> bytes:
        """The message that has a worker load the class and nothing else."""
        return pickle.dumps((self.spec, self.memory_limit_mb, None, ()), pickle.HIGHEST_PROTOCOL)

    def loaded(self) -> None:
        self._fault, self._faults, self._fault_until = None, 0, 0.0

    def cannot_load(self, said: Said) -> None:
        """Fail who waits; calls fail at once for a while, then one of them tries again."""
        self._fault = _startup_fault(self.spec, said)
        self._faults += 1
        self._fault_until = time.monotonic() + min(MAX_RETRY_S, RETRY_START_S * 2.0 ** (self._faults - 1))
        log.error("a worker could not start: %s", self._fault.message)
        fail(self.lane, self._fault)

    def _closed_fault(self) -> EnvironmentFault:
        return EnvironmentFault(f"the worker pool of {self.spec} is closed")


def _startup_fault(spec: str, said: Said) -> EnvironmentFault:
    try:
        _unwrap(said, "starting")
    except (PalaestraError, ToolFault) as error:
        return EnvironmentFault(f"no worker of {spec} can start: {error}", hint=getattr(error, "hint", ""))
    return EnvironmentFault(f"no worker of {spec} can start: it said {said[0]!r}")


def _unwrap(outcome: Said, method: str) -> Any:
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
