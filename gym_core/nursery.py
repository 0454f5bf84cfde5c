"""Where workers come from: one process that has loaded every class and does no job, copied whenever a worker is needed.

    fresh interpreter ─▶ copy ─▶ load a class there ─▶ well? the copy is the nursery now, the one before is ended
                                                  └──▶ hung, dead, broken? the copy is ended, the class has a fault
                                                  └──▶ left a thread, a process, a file behind? each worker makes its
                                                       own object, from modules that are imported here

Copies share the pages that nobody writes to: sympy, language profiles and parsers are held once, not once a worker, and
a worker that was killed is replaced in the time of a fork. A class is tried in a copy first, so no class can harm the
nursery. Where siblings cannot be forked (`gym_core.sibling`) workers are fresh interpreters that load for themselves.
"""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING

from gym_core.sibling import can_fork_sibling
from gym_core.worker_process import STARTUP_TIMEOUT_S, Said, Worker

if TYPE_CHECKING:
    from gym_core.workers import WorkerPool

log = logging.getLogger("palaestra.workers")

PATIENCE_S = 3.0
"""How long a worker that is needed waits for the nursery to load more; then it is copied from what there is."""


class Nursery:
    """Loads the classes of `pools`, those that are waited for first.

    `on_lost` hears of every process whose connection ends, `discard` ends one, `grown` is called once all is loaded.
    """

    def __init__(
        self,
        pools: list[WorkerPool],
        on_lost: Callable[[Worker], None],
        discard: Callable[[Worker], None],
        grown: Callable[[], None],
    ) -> None:
        self.possible = can_fork_sibling()
        self._pools = pools
        self._on_lost = on_lost
        self._discard = discard
        self._grown = grown
        self._mother: Worker | None = None
        self._apart: set[str] = set()
        self._growing: asyncio.Task[None] | None = None
        self._enough = asyncio.Event()
        self._copying = asyncio.Lock()

    @property
    def growing(self) -> set[asyncio.Task[None]]:
        """The task that loads, while there is one."""
        return set() if self._growing is None else {self._growing}

    def wants(self, pool: WorkerPool) -> bool:
        """Whether this class will be loaded here, so that no worker should do it ahead of a job."""
        if not self.possible or not pool.sound or pool.spec in self._apart:
            return False
        return self._mother is None or pool.spec not in self._mother.loaded

    def outgrew(self, worker: Worker) -> bool:
        """Whether a copy made now would share more than this worker does."""
        return self._mother is not None and self._growing is None and worker.mother is not self._mother

    def grow(self) -> None:
        """Start, and load what is not loaded, in the background."""
        if self.possible and self._growing is None and (self._mother is None or any(map(self.wants, self._pools))):
            self._enough.clear()
            self._growing = asyncio.get_running_loop().create_task(self._grow())

    async def worker(self) -> Worker | None:
        """A new worker: waits, not for long, until what callers wait for is loaded. None where no copy can be made."""
        if not self.possible:
            return None
        self.grow()
        self.look()
        while not self._enough.is_set():
            try:
                async with asyncio.timeout(PATIENCE_S):
                    await self._enough.wait()
            except TimeoutError:
                if any(pool.queued for pool in self._pools):
                    break
        return await self._copy()

    def look(self) -> None:
        """Somebody has begun to wait: is what they wait for loaded?"""
        waited_for = [pool for pool in self._pools if pool.queued]
        if self._growing is None or (waited_for and not any(map(self.wants, waited_for))):
            self._enough.set()

    def lost(self, worker: Worker) -> None:
        """A connection has ended; where it was the nursery's a new one is started when a worker is needed."""
        if worker is self._mother:
            log.warning("the process that workers are copied from is gone: %s", worker.ending())
            self._mother = None
            self._discard(worker)

    async def close(self) -> None:
        """End the process, and what it was doing."""
        self.possible = False
        growing = self._growing
        if growing is not None:
            growing.cancel()
        mother, self._mother = self._mother, None
        if mother is not None:
            self._discard(mother)
            await mother.dead.wait()
        if growing is not None:
            await asyncio.wait({growing})

    # Growing -------------------------------------------------------------------------------------------------------

    async def _grow(self) -> None:
        try:
            if self._mother is None:
                self._mother = await self._open()
            while self._mother is not None and (pool := self._next()) is not None and await self._load(pool):
                self.look()
        finally:
            self._growing = None
            self._enough.set()
            self._grown()

    def _next(self) -> WorkerPool | None:
        wanted = [pool for pool in self._pools if self.wants(pool)]
        return next((pool for pool in wanted if pool.queued), wanted[0] if wanted else None)

    async def _open(self) -> Worker | None:
        """The first one, which has loaded nothing; None where it does not start."""
        try:
            opened = await Worker.launch(self._on_lost, nursery=True)
        except OSError as error:
            log.warning("no process that workers are copied from can start: %s", error)
            return None
        return opened if await self._greeted(opened) else None

    async def _load(self, pool: WorkerPool) -> bool:
        """Have a copy load the class; where that went well it takes the nursery's place. False: there is no copy."""
        said = await self._try(pool.loading_order(), pool.spec)
        if said is None:
            return False
        if said[0] != "ok":
            if self.possible:
                pool.cannot_load(said)
        elif said[1].obstacle:
            self._apart.add(pool.spec)
            log.info("%s is loaded by each worker for itself: %s", pool.spec, said[1].obstacle)
            await self._try(pickle.dumps(("", 0, None, said[1].modules), pickle.HIGHEST_PROTOCOL))
        else:
            pool.loaded()
        return True

    async def _try(self, order: bytes, spec: str = "") -> Said | None:
        """What a copy says to the order, None where there is no copy; then it is the nursery, or it is ended."""
        copied = await self._copy()
        if copied is None:
            return None
        before: Worker | None = copied
        try:
            said = await copied.answer(order, STARTUP_TIMEOUT_S)
            if said[0] == "ok" and not said[1].obstacle:
                copied.loaded |= {spec} - {""}
                async with self._copying:  # whoever is copying the one before gets that copy first
                    before, self._mother = self._mother, copied
        except asyncio.CancelledError:
            self._discard(copied)
            await copied.dead.wait()
            raise
        if before is not None:
            self._discard(before)
        return said

    # Copies --------------------------------------------------------------------------------------------------------

    async def _copy(self) -> Worker | None:
        """A copy of the nursery as it is; None where there is none, or none can be made."""
        async with self._copying:
            mother = self._mother
            if mother is None:
                return None
            making = asyncio.ensure_future(mother.copy(self._on_lost))
            try:
                async with asyncio.timeout(STARTUP_TIMEOUT_S):
                    made = await asyncio.shield(making)
            except (asyncio.CancelledError, TimeoutError) as error:
                self._mother = None
                self._discard(mother)  # now it has answered, or it is gone: a copy is known either way
                if isinstance(made := await making, Worker):
                    self._discard(made)
                if isinstance(error, asyncio.CancelledError):
                    raise
                return None
            except OSError as error:  # no descriptors left: perhaps there are some next time
                log.warning("no worker can be copied now: %s", error)
                return None
            if isinstance(made, Worker):  # until it has greeted, it dies with the group of the nursery
                return made if await self._greeted(made) else None
        if made[0] == "raised":
            log.warning("workers load for themselves from now on, no copy can be made: %s", made[2])
            self.possible = False
        if mother is self._mother:  # gone, perhaps before it was the nursery
            self._mother = None
            self._discard(mother)
        return None

    async def _greeted(self, worker: Worker) -> bool:
        """Whether it says that it is there."""
        try:
            async with asyncio.timeout(STARTUP_TIMEOUT_S):
                said = await worker.hello()
        except TimeoutError:
            said = ("overran",)
        except asyncio.CancelledError:
            self._discard(worker)
            await worker.dead.wait()
            raise
        if said[0] != "ready":
            self._discard(worker)
        return said[0] == "ready"
