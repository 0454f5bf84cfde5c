"""Workers are copies of a process that loads and never works: alike at birth, strangers from then on."""

from __future__ import annotations

import asyncio
import errno
import os
import pickle
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from gym_core.crew import Crew
from gym_core.errors import EnvironmentFault
from gym_core.sibling import can_fork_sibling
from gym_core.worker_process import Worker
from gym_core.workers import WorkerPool

SAMPLES = Path(__file__).with_name("nursery_samples.py")

copies = pytest.mark.skipif(not can_fork_sibling(), reason="workers are copied on Linux with glibc")


@asynccontextmanager
async def crew_of(*names: str, size: int = 1, **options: Any) -> AsyncIterator[list[WorkerPool]]:
    crew = Crew(size)
    try:
        yield [WorkerPool(f"{SAMPLES}:{name}", crew=crew, **options) for name in names]
    finally:
        await crew.close()


async def births(pool: WorkerPool) -> dict[int, str]:
    """What each worker was born with; asked until all have answered."""
    found: dict[int, str] = {}
    async with asyncio.timeout(30):
        while set(found) != set(pool.pids):
            found |= dict(await asyncio.gather(*(pool.call("birth") for _ in range(pool.size))))
    return found


@copies
async def test_workers_are_copies_of_one_object_and_children_of_the_service() -> None:
    async with crew_of("Copied", size=3) as (pool,):
        await pool.ready()
        found = await births(pool)
        assert len(found) == 3 and len(set(found.values())) == 1
        assert {psutil.Process(pid).ppid() for pid in found} == {os.getpid()}


@copies
async def test_what_a_job_has_told_one_worker_no_other_knows() -> None:
    async with crew_of("Copied") as (pool,):
        await pool.ready()
        assert await pool.call("tell", "secret") == ""
        assert await pool.call("tell", "more") == "secret"
        (before,) = pool.pids
        os.kill(before, signal.SIGKILL)
        await until(lambda: pool.pids not in ([], [before]))
        assert await pool.call("tell", "again") == ""


@copies
async def test_copies_draw_numbers_of_their_own_and_hold_no_channel_but_theirs() -> None:
    async with crew_of("Copied", size=2) as (pool,):
        await pool.ready()
        drawn: dict[int, float] = {}
        async with asyncio.timeout(30):
            while len(drawn) < 2:
                for pid, value in await asyncio.gather(*(pool.call("draw") for _ in range(2))):
                    drawn.setdefault(pid, value)
        assert len(set(drawn.values())) == 2
        assert await pool.call("sockets") == 1
        pid, group, session = await pool.call("group")
        assert pid == group == session


@copies
async def test_a_class_that_keeps_a_file_is_made_by_each_worker_and_the_others_are_copied() -> None:
    async with crew_of("Keeper", "Copied", size=2) as (keeper, copied):
        await keeper.ready()
        assert len(set((await births(keeper)).values())) == 2
        assert len(set((await births(copied)).values())) == 1
        nursery = keeper.crew._nursery
        assert nursery._mother is not None and nursery._mother.loaded == {copied.spec}


@copies
async def test_a_class_that_hangs_while_it_loads_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gym_core.nursery.PATIENCE_S", 0.05)
    async with crew_of("Hanging") as (hanging,):
        hanging.start()
        copied = WorkerPool(f"{SAMPLES}:Copied", crew=hanging.crew)
        assert len(await copied.call("birth")) == 2
        assert hanging.crew._nursery.growing


@copies
async def test_a_worker_that_was_needed_early_is_replaced_once_all_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gym_core.nursery.PATIENCE_S", 0.05)
    async with crew_of("Late") as (late,):
        late.start()
        copied = WorkerPool(f"{SAMPLES}:Copied", crew=late.crew)
        early, _ = await copied.call("birth")
        await late.ready()
        (pid,) = copied.pids
        assert pid != early
        (worker,) = late.crew._alive
        assert worker.loaded == {late.spec, copied.spec}
        await copied.call("birth")
        assert copied.pids == [pid]


@copies
async def test_a_nursery_that_is_killed_takes_nobody_along_and_comes_back() -> None:
    async with crew_of("Copied") as (pool,):
        await pool.ready()
        nursery = pool.crew._nursery
        assert nursery._mother is not None
        os.kill(nursery._mother.process.pid, signal.SIGKILL)
        await until(lambda: nursery._mother is None)
        (before,) = pool.pids
        assert (await pool.call("birth"))[0] == before
        os.kill(before, signal.SIGKILL)
        await until(lambda: pool.pids not in ([], [before]))
        await pool.ready()
        assert (await pool.call("birth"))[0] in pool.pids
        assert nursery._mother is not None


@copies
async def test_who_is_being_served_by_a_nursery_that_another_replaces_gets_the_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with crew_of("Copied") as (pool,):
        await pool.ready()
        nursery, copy, answer = pool.crew._nursery, Worker.copy, Worker.answer
        gate, asked, loaded = asyncio.Event(), asyncio.Event(), asyncio.Event()

        async def copy_late(mother: Worker, on_lost: Any) -> Any:
            asked.set()
            await gate.wait()
            return await copy(mother, on_lost)

        async def tell_when_loaded(worker: Worker, *order: Any) -> Any:
            monkeypatch.setattr(Worker, "copy", copy_late)
            await asked.wait()
            said = await answer(worker, *order)
            loaded.set()
            return said

        monkeypatch.setattr(Worker, "answer", tell_when_loaded)
        WorkerPool(f"{SAMPLES}:Late", crew=pool.crew)  # the nursery has a copy of itself load it
        await until(lambda: Worker.copy is copy_late)
        copying = asyncio.ensure_future(nursery._copy())
        await loaded.wait()
        for _ in range(10):
            await asyncio.sleep(0)
        gate.set()
        copied = await copying
        assert isinstance(copied, Worker)
        pool.crew._discard(copied)
        monkeypatch.undo()
        await pool.ready()
        assert nursery._mother is not None and len(nursery._mother.loaded) == 2


@copies
async def test_a_nursery_that_was_dead_before_it_was_one_is_given_up() -> None:
    async with crew_of("Copied") as (pool,):
        await pool.ready()
        nursery = pool.crew._nursery
        dead = nursery._mother
        assert dead is not None
        nursery._mother = None
        os.kill(dead.process.pid, signal.SIGKILL)
        await until(lambda: dead.dead.is_set())
        nursery._mother = dead
        (before,) = pool.pids
        os.kill(before, signal.SIGKILL)
        await until(lambda: pool.pids not in ([], [before]))
        assert nursery._mother is not dead


async def test_where_no_process_can_be_started_callers_are_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*_: Any, **__: Any) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    async with crew_of("Copied", queue_timeout_s=60) as (pool,):
        with monkeypatch.context() as patched:
            patched.setattr("subprocess.Popen", none_left)
            async with asyncio.timeout(20):
                with pytest.raises(EnvironmentFault, match=r"can start: .*temporarily unavailable"):
                    await pool.call("birth")
        pool.crew._broken_until = 0.0
        assert len(await pool.call("birth")) == 2


@copies
async def test_a_process_that_has_worked_is_not_copied() -> None:
    lost: list[Worker] = []
    worker = await Worker.launch(lost.append, nursery=True)
    try:
        await worker.hello()
        twin = await worker.copy(lost.append)
        assert isinstance(twin, Worker)
        assert await twin.hello() == ("ready", twin.process.pid)
        twin.kill()
        job = pickle.dumps((f"{SAMPLES}:Copied", 0, "tell", ("secret",)))
        assert await worker.answer(job, 30) == ("ok", "")
        said = await worker.copy(lost.append)
        assert not isinstance(said, Worker) and said[:2] == ("raised", "RuntimeError")
    finally:
        worker.kill()
        worker.process.wait(10)
        await until(lambda: worker.dead.is_set())
    assert twin.process.wait(10) == -signal.SIGKILL


async def test_closing_at_any_moment_leaves_no_process() -> None:
    before = set(psutil.Process().children(recursive=True))
    for turns in (0, 1, 5, 50, 500, 5000):
        crew = Crew(2)
        pool = WorkerPool(f"{SAMPLES}:Copied", crew=crew)
        pool.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        await crew.close()
    left = set(psutil.Process().children(recursive=True)) - before
    _, alive = psutil.wait_procs(left, timeout=10)
    assert not alive


async def test_where_siblings_cannot_be_forked_workers_load_for_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gym_core.nursery.can_fork_sibling", lambda: False)
    async with crew_of("Copied", "Keeper", size=2) as (pool, keeper):
        await pool.ready()
        found = await births(pool)
        assert len(set(found.values())) == 2
        assert all(worker.loaded == {pool.spec, keeper.spec} for worker in pool.crew._alive)
        before = min(found)
        os.kill(before, signal.SIGKILL)
        await until(lambda: len(pool.pids) == 2 and before not in pool.pids)
        assert await pool.call("tell", "x") == ""
    with pytest.raises(EnvironmentFault, match="closed"):
        await pool.call("birth")


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)
