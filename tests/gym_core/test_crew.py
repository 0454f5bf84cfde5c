"""Processes that several pools share: loaded once, warmed ahead, fair, and only the guilty suffer."""

from __future__ import annotations

import asyncio
import os
import signal
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gym_core.crew import Crew
from gym_core.errors import Busy, DeadlineExceeded, EnvironmentFault
from gym_core.workers import WorkerPool

SAMPLES = Path(__file__).with_name("samples.py")


@asynccontextmanager
async def shared(*names: str, size: int = 1, **options: Any) -> AsyncIterator[list[WorkerPool]]:
    crew = Crew(size)
    try:
        specs = (name if ":" in name else f"{SAMPLES}:{name}" for name in names)
        yield [WorkerPool(spec, crew=crew, **options) for spec in specs]
    finally:
        await crew.close()


async def test_two_classes_live_in_one_process() -> None:
    async with shared("Plain", "Other") as (plain, other):
        await plain.ready()
        assert await plain.call("pid") == await other.call("pid")
        assert len(plain.crew.pids) == 1
        (worker,) = plain.crew._alive
        assert worker.loaded == {plain.spec, other.spec}
        assert await plain.call("double", 2) == 4
        assert await other.call("double", 2) == 6


async def test_classes_are_warm_before_their_first_job_and_again_in_a_new_worker() -> None:
    async with shared("Plain", "Warmed", timeout_s=2) as (plain, warmed):
        await plain.ready()
        (worker,) = plain.crew._alive
        assert warmed.spec in worker.loaded
        with pytest.raises(DeadlineExceeded):
            await plain.call("hang")
        await plain.ready()
        (fresh,) = plain.crew._alive
        assert fresh is not worker and fresh.loaded == {plain.spec, warmed.spec}
        assert await warmed.call("times_warmed") == 1
        assert (plain.kills, warmed.kills) == (1, 0)


async def test_loading_does_not_count_as_part_of_the_job() -> None:
    async with shared("Slow", timeout_s=2) as (slow,):
        assert await slow.call("ok") == "ok"  # loading alone takes longer than a job may


async def test_a_pool_that_joins_late_is_warmed_too() -> None:
    async with shared("Plain") as (plain,):
        await plain.ready()
        late = WorkerPool(f"{SAMPLES}:Warmed", crew=plain.crew)
        await late.ready()
        (worker,) = plain.crew._alive
        assert late.spec in worker.loaded


async def test_a_class_that_cannot_start_fails_alone() -> None:
    async with shared("Unstartable", "Plain") as (broken, plain):
        with pytest.raises(EnvironmentFault, match="RuntimeError: no licence file"):
            await broken.call("anything")
        await plain.crew.ready()
        (pid,) = plain.pids
        assert await plain.call("pid") == pid
        with pytest.raises(EnvironmentFault, match="no licence file"):
            await broken.call("anything")
        assert plain.pids == [pid]
        await plain.ready()


async def test_a_class_that_kills_its_worker_while_loading_is_not_tried_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with shared("Deadly", "Plain") as (deadly, plain):
        await plain.crew.ready()
        assert await plain.call("double", 1) == 2
        with pytest.raises(EnvironmentFault, match=r"can start: .*(exited with status 4|connection broke)"):
            await deadly.call("anything")
        await plain.crew.ready()
        (pid,) = plain.pids
        with pytest.raises(EnvironmentFault):  # at once, without costing another worker
            await deadly.call("anything")
        assert plain.pids == [pid]
        assert await plain.call("pid") == pid


async def test_a_class_that_was_broken_is_tried_again_after_a_while(tmp_path: Path) -> None:
    file = tmp_path / "environment.py"
    file.write_text("class Late:\n    def __init__(self): raise RuntimeError('not yet')\n    def ok(self): return 1\n")
    async with shared(f"{file}:Late") as (late,):
        with pytest.raises(EnvironmentFault, match="not yet"):
            await late.call("ok")
        file.write_text("class Late:\n    def ok(self): return 1\n")
        late._fault_until = 0.0
        await late.crew.ready()
        before = late.pids
        os.kill(before[0], signal.SIGKILL)  # a process that has imported a module keeps it
        await until(lambda: len(late.pids) == 1 and late.pids != before)
        assert await late.call("ok") == 1


async def test_a_full_queue_of_one_pool_is_not_the_others(tmp_path: Path) -> None:
    async with shared("Plain", "Other", queue_limit=2, timeout_s=30) as (plain, other):
        await plain.ready()
        hanging = asyncio.create_task(plain.call("hang"))
        await until(lambda: plain.busy == 1)
        waiting = [asyncio.create_task(plain.call("pid")) for _ in range(2)]
        await until(lambda: plain.queued == 2)
        with pytest.raises(Busy):
            await plain.call("pid")
        there = asyncio.create_task(other.call("double", 1))
        await until(lambda: other.queued == 1)
        os.kill(plain.pids[0], signal.SIGKILL)
        with pytest.raises(EnvironmentFault, match="died"):
            await hanging
        order: list[str] = []
        there.add_done_callback(lambda _: order.append("other"))
        for task in waiting:
            task.add_done_callback(lambda _: order.append("plain"))
        await asyncio.gather(there, *waiting)
        assert order[0] == "other"  # the newcomer does not wait behind the queue of the one that used its time


async def test_a_hanging_class_leaves_the_second_worker_to_others() -> None:
    async with shared("Plain", "Other", size=2, timeout_s=30) as (plain, other):
        await plain.ready()
        hanging = [asyncio.create_task(plain.call("hang")) for _ in range(3)]
        await until(lambda: plain.busy == 2)
        there = asyncio.create_task(other.call("double", 1))
        await until(lambda: other.queued == 1)
        os.kill(plain.pids[0], signal.SIGKILL)
        assert await there == 3
        for task in hanging:
            task.cancel()
        await asyncio.wait(hanging)


async def test_each_pool_has_its_own_memory() -> None:
    crew = Crew(1)
    try:
        small = WorkerPool(f"{SAMPLES}:Plain", memory_limit_mb=1024, crew=crew)
        large = WorkerPool(f"{SAMPLES}:Other", memory_limit_mb=3072, crew=crew)
        for _ in range(2):
            assert await small.call("memory_limit") == 1 << 30
            assert await large.call("memory_limit") == 3 << 30
    finally:
        await crew.close()


async def test_a_pool_that_closes_leaves_the_crew_to_the_others() -> None:
    async with shared("Plain", "Other") as (plain, other):
        await plain.ready()
        await plain.close()
        with pytest.raises(EnvironmentFault, match=r"pool of .*Plain is closed"):
            await plain.call("pid")
        assert await other.call("double", 1) == 3


async def test_a_crew_that_is_closed_says_so() -> None:
    async with shared("Plain") as (plain,):
        await plain.ready()
    with pytest.raises(EnvironmentFault, match="closed"):
        await plain.call("pid")


async def test_python_that_does_not_start_is_a_fault_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    false_python = tmp_path / "python"
    false_python.write_text(textwrap.dedent("#!/bin/sh\nexit 3\n"))
    false_python.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(false_python))
    async with shared("Plain", "Other") as (plain, other):
        for pool in (plain, other):
            with pytest.raises(EnvironmentFault, match=r"no worker process can start: .*(status 3|connection broke)"):
                await pool.call("pid")


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)
