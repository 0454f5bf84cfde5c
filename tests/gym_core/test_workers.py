"""Warm workers: results and exceptions travel, overruns are killed, the queue is bounded, nobody is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from gym_core.contracts import Task
from gym_core.errors import BadRequest, BadRow, Busy, DeadlineExceeded, EnvironmentFault
from gym_core.reply import text_output
from gym_core.tools import ToolFault
from gym_core.workers import WorkerPool

SAMPLES = Path(__file__).with_name("samples.py")
ROOT = Path(__file__).resolve().parents[2]
ROW = {"responses_create_params": {"input": "q"}, "gold": 1}


@asynccontextmanager
async def pool_of(name: str, **options: Any) -> AsyncIterator[WorkerPool]:
    pool = WorkerPool(f"{SAMPLES}:{name}", **options)
    try:
        yield pool
    finally:
        await pool.close()


async def grade(pool: WorkerPool, text: str) -> Any:
    return await pool.call("grade", ROW, None, text_output(text))


async def test_a_call_runs_in_another_process_and_its_value_comes_back() -> None:
    async with pool_of("Plain") as pool:
        assert await pool.call("double", 21) == 42
        assert await pool.call("later", "x") == "x"
        assert await pool.call("pid") == pool.pids[0] != os.getpid()
        assert await pool.call("parent") == os.getpid()


async def test_jobs_of_several_workers_run_side_by_side_and_workers_are_reused() -> None:
    async with pool_of("Plain", size=2) as pool:
        await pool.ready()
        pids = await asyncio.gather(*(pool.call("pid") for _ in range(20)))
        assert set(pids) <= set(pool.pids)
        assert len(pool.pids) == 2


async def test_an_environment_is_graded_in_its_warm_worker() -> None:
    async with pool_of("Heavy") as pool:
        verdict = await grade(pool, "fine")
        assert verdict.reward == 1.0
        assert verdict.details == {"pid": pool.pids[0], "warmed": True, "print": None}


async def test_exceptions_travel_typed() -> None:
    async with pool_of("Heavy") as pool:
        with pytest.raises(BadRow) as refused:
            await pool.call("resolve", {"responses_create_params": {"input": "q"}})
        assert (refused.value.field, refused.value.hint) == ("gold", "add it")
        with pytest.raises(EnvironmentFault, match="KeyError: 'boom'") as fault:
            await grade(pool, "raise")
        assert fault.value.hint.startswith("raised at samples.py:")
        with pytest.raises(ToolFault, match="no"):
            await grade(pool, "fault")
        with pytest.raises(EnvironmentFault, match=r"AttributeError|PicklingError"):
            await grade(pool, "unpicklable")
        assert (await grade(pool, "fine")).reward == 1.0


async def test_arguments_that_cannot_travel_are_named() -> None:
    async with pool_of("Plain") as pool:
        with pytest.raises(EnvironmentFault, match="cannot travel"):
            await pool.call("double", lambda: 1)


async def test_arguments_without_end_are_the_callers_fault() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    async with pool_of("Plain") as pool:
        with pytest.raises(BadRequest, match="too deeply"):
            await pool.call("double", deep)


async def ended(pid: int) -> None:
    """Until that process runs no more: a kill is asked for, and done when the machine comes to it."""
    with suppress(psutil.NoSuchProcess):
        async with asyncio.timeout(30):
            while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.02)


async def test_a_job_that_overruns_is_killed_and_the_worker_replaced() -> None:
    async with pool_of("Heavy", timeout_s=2) as pool:
        await pool.ready()
        (before,) = pool.pids
        with pytest.raises(DeadlineExceeded, match=r"longer than 2 s"):
            await grade(pool, "hang")
        assert pool.kills == 1
        assert (await grade(pool, "fine")).details["pid"] != before
        await ended(before)


async def test_a_worker_that_dies_is_a_fault_and_is_replaced() -> None:
    async with pool_of("Heavy") as pool:
        with pytest.raises(EnvironmentFault, match=r"exited with status 3|connection broke"):
            await grade(pool, "die")
        assert (await grade(pool, "fine")).reward == 1.0


async def test_an_idle_worker_that_dies_is_replaced_before_anyone_asks() -> None:
    async with pool_of("Plain") as pool:
        await pool.ready()
        (before,) = pool.pids
        os.kill(before, signal.SIGKILL)
        await until(lambda: len(pool.pids) == 1 and pool.pids != [before])
        assert await pool.call("pid") != before


async def test_memory_is_limited_and_running_out_is_a_fault() -> None:
    async with pool_of("Heavy", memory_limit_mb=1024) as pool:
        with pytest.raises(EnvironmentFault, match="MemoryError"):
            await grade(pool, "memory")
    async with pool_of("Plain", memory_limit_mb=1024) as pool:
        assert await pool.call("memory_limit") == 1 << 30


async def test_a_worker_is_recycled_after_its_number_of_jobs() -> None:
    async with pool_of("Plain", max_jobs=3) as pool:
        pids = [await pool.call("pid") for _ in range(6)]
        assert pids[0] == pids[1] == pids[2] != pids[3] == pids[4] == pids[5]


async def test_a_full_queue_is_busy_at_once() -> None:
    async with pool_of("Plain", queue_limit=1, timeout_s=30) as pool:
        await pool.ready()
        running = asyncio.create_task(pool.call("hang"))
        await until(lambda: pool.busy == 1)
        waiting = asyncio.create_task(pool.call("pid"))
        await until(lambda: pool.queued == 1)
        with pytest.raises(Busy) as busy:
            await pool.call("pid")
        assert busy.value.retry_after_s
        os.kill(pool.pids[0], signal.SIGKILL)
        with pytest.raises(EnvironmentFault, match="died"):
            await running
        assert isinstance(await waiting, int)


async def test_waiting_in_the_queue_has_an_end() -> None:
    async with pool_of("Plain", timeout_s=30, queue_timeout_s=0.05) as pool:
        await pool.ready()
        running = asyncio.create_task(pool.call("hang"))
        await until(lambda: pool.busy == 1)
        with pytest.raises(Busy, match=r"0\.05 s"):
            await pool.call("pid")
        assert pool.queued == 0
        await pool.close()
        with pytest.raises(EnvironmentFault):
            await running


async def test_a_caller_that_leaves_harms_nobody() -> None:
    async with pool_of("Plain", timeout_s=2) as pool:
        await pool.ready()
        leaving = asyncio.create_task(pool.call("hang"))
        await until(lambda: pool.busy == 1)
        waiting = asyncio.create_task(pool.call("pid"))
        await until(lambda: pool.queued == 1)
        leaving.cancel()
        waiting.cancel()
        await asyncio.wait({leaving, waiting})
        assert pool.queued == 0
        assert await pool.call("double", 4) == 8


async def test_the_job_of_a_caller_that_has_left_is_killed_and_the_next_one_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gym_core.crew.FAREWELL_S", 0.0)
    async with pool_of("Plain", timeout_s=3600) as pool:
        await pool.ready()
        worker = psutil.Process(pool.pids[0])
        leaving = asyncio.create_task(pool.call("hang"))
        await until(lambda: pool.busy == 1)
        leaving.cancel()
        await asyncio.wait({leaving})
        assert await pool.call("double", 4) == 8
        assert pool.kills == 1
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


async def test_a_quick_job_of_a_caller_that_has_left_costs_no_worker() -> None:
    async with pool_of("Plain") as pool:
        await pool.ready()
        (pid,) = pool.pids
        leaving = asyncio.create_task(pool.call("double", 1))
        await until(lambda: pool.busy == 1)
        leaving.cancel()
        await asyncio.wait({leaving})
        await until(lambda: pool.busy == 0)
        assert (await pool.call("pid"), pool.kills) == (pid, 0)


async def test_a_caller_that_leaves_while_its_class_loads_does_not_spoil_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gym_core.crew.FAREWELL_S", 0.0)
    async with pool_of("Slow") as pool:
        leaving = asyncio.create_task(pool.call("ok"))
        await until(lambda: pool.busy == 1)
        leaving.cancel()
        await asyncio.wait({leaving})
        assert await pool.call("ok") == await pool.call("ok")


async def test_a_class_that_cannot_start_fails_its_callers_and_says_why() -> None:
    async with pool_of("Unstartable") as pool:
        with pytest.raises(EnvironmentFault, match="RuntimeError: no licence file"):
            await pool.call("anything")
        with pytest.raises(EnvironmentFault, match="no licence file"):
            await pool.ready()


async def test_a_missing_class_is_named() -> None:
    async with pool_of("Nothing") as pool:
        with pytest.raises(EnvironmentFault, match="has no class 'Nothing'"):
            await pool.call("anything")


async def test_closing_ends_workers_and_callers() -> None:
    async with pool_of("Plain", timeout_s=30) as pool:
        await pool.ready()
        (pid,) = pool.pids
        running = asyncio.create_task(pool.call("hang"))
        await until(lambda: pool.busy == 1)
        waiting = asyncio.create_task(pool.call("pid"))
        await until(lambda: pool.queued == 1)
        await pool.close()
        for task in (running, waiting):
            with pytest.raises(EnvironmentFault):
                await task
        assert not psutil.pid_exists(pid)
        with pytest.raises(EnvironmentFault, match="closed"):
            await pool.call("pid")


def test_a_pool_without_workers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        WorkerPool("x:Y", size=0)


def test_workers_die_with_their_parent_even_in_the_middle_of_a_job() -> None:
    program = f"""
        import asyncio
        from gym_core.workers import WorkerPool

        async def main():
            pool = WorkerPool({f"{SAMPLES}:Plain"!r}, timeout_s=60)
            await pool.ready()
            asyncio.get_running_loop().create_task(pool.call("hang"))
            await asyncio.sleep(0.05)
            print(pool.pids[0], flush=True)
            await asyncio.Event().wait()

        asyncio.run(main())
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    try:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
    finally:
        parent.kill()
        parent.communicate()
    psutil.wait_procs([worker], timeout=5)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


async def test_a_task_with_hidden_fields_travels_whole() -> None:
    async with pool_of("Heavy") as pool:
        (task,) = await pool.call("tasks", 1, 0, 1)
        assert isinstance(task, Task)
        assert task["hidden_thing"] == {1, 2}


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)
