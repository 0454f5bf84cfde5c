"""Sessions: signed ids, one user at a time, swept when idle, closed exactly once whatever happens."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.contracts import Task
from gym_core.environment import Environment
from gym_core.errors import BadSession, Busy, EnvironmentFault
from gym_core.loading import load_file
from gym_core.sessions import Sessions

Counter = load_file(Path(__file__).with_name("samples.py")).Counter


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def closed() -> Iterator[list[str]]:
    Counter.closed.clear()
    yield Counter.closed


def task(**hidden: Any) -> Task:
    return Task(environment="counter", task_id="t", responses_create_params={"input": "q"}, hidden=hidden)


def table(
    environment: Environment | None = None, *, worker: str = "w1", capacity: int = 10, ttl_s: float = 60, **more: Any
) -> Sessions:
    return Sessions(environment or Counter(), secret=b"secret", worker=worker, capacity=capacity, ttl_s=ttl_s, **more)


async def opened(sessions: Sessions, key: str = "", **hidden: Any) -> str:
    return await sessions.open(task(**hidden), random.Random(0), key)


async def test_a_session_keeps_its_state_between_uses() -> None:
    sessions = table()
    name = await opened(sessions)
    async with sessions.using(name) as session:
        session.state["count"] = 5
    async with sessions.using(name) as session:
        assert session.state == {"count": 5}
        assert session.session_id == name


async def test_an_id_says_its_worker_and_no_two_are_alike() -> None:
    sessions = table(worker="w7")
    names = [await opened(sessions) for _ in range(5)]
    assert len(set(names)) == 5
    assert all(name.startswith("w7.") and name.count(".") == 2 for name in names)


async def test_forged_closed_and_foreign_ids_are_told_apart() -> None:
    sessions, other = table(worker="w1"), table(worker="w2")
    name, foreign = await opened(sessions), await opened(other)
    await sessions.close(name)
    for given_id, words in ((name, "is closed"), (foreign, "belongs to worker 'w2'"), ("nonsense", "is no session")):
        with pytest.raises(BadSession, match=words):
            async with sessions.using(given_id):
                pass
    worker, number, signature = name.split(".")
    forged = f"{worker}.{number[::-1]}.{signature}"
    with pytest.raises(BadSession, match=r"is no session|belongs to"):
        async with sessions.using(forged):
            pass


async def test_a_session_of_another_environment_is_refused() -> None:
    class Other(Counter):  # type: ignore[misc,valid-type]
        name = "other"

    name = await opened(table(Other()))
    with pytest.raises(BadSession, match="is no session of environment 'counter'"):
        async with table().using(name):
            pass


@given(st.text(max_size=80))
def test_no_made_up_id_is_a_session(made_up: str) -> None:
    async def attempt() -> None:
        with pytest.raises(BadSession):
            async with table().using(made_up):
                pass
        with pytest.raises(BadSession):
            await table().close(made_up)

    asyncio.run(attempt())


async def test_users_of_one_session_take_turns_in_order() -> None:
    sessions = table()
    name = await opened(sessions)
    order: list[str] = []
    leave = asyncio.Event()

    async def use(who: str) -> None:
        async with sessions.using(name):
            order.append(f"{who} in")
            await leave.wait()
            order.append(f"{who} out")

    tasks = [asyncio.create_task(use(who)) for who in "abc"]
    await asyncio.sleep(0)
    leave.set()
    await asyncio.gather(*tasks)
    assert order == ["a in", "a out", "b in", "b out", "c in", "c out"]


async def test_closing_is_idempotent_and_closes_once(closed: list[str]) -> None:
    sessions = table()
    name = await opened(sessions)
    await asyncio.gather(*(sessions.close(name) for _ in range(3)))
    await sessions.close(name)
    assert closed == [name]


async def test_closing_waits_for_the_user_inside_and_refuses_those_behind(closed: list[str]) -> None:
    sessions = table()
    name = await opened(sessions)

    async def use() -> None:
        async with sessions.using(name):
            pytest.fail("got in although the session was being closed")

    async with sessions.using(name):
        behind = asyncio.create_task(use())
        await asyncio.sleep(0)
        closing = asyncio.create_task(sessions.close(name))
        await asyncio.sleep(0)
        assert closed == []
    with pytest.raises(BadSession, match="is closed"):
        await behind
    await closing
    assert closed == [name]


async def test_a_closer_that_goes_away_still_closes(closed: list[str]) -> None:
    sessions = table()
    name = await opened(sessions)
    async with sessions.using(name):
        closing = asyncio.create_task(sessions.close(name))
        await asyncio.sleep(0)
        closing.cancel()
    await sessions.close_all()
    assert closed == [name]


async def test_idle_sessions_are_swept_and_used_ones_live_on(closed: list[str]) -> None:
    clock = Clock()
    sessions = table(clock=clock, ttl_s=60)
    idle, used, inside = [await opened(sessions) for _ in range(3)]
    clock.now += 59
    async with sessions.using(used):
        pass
    async with sessions.using(inside):
        clock.now += 1
        assert await sessions.sweep() == 1
    assert closed == [idle]
    assert len(sessions) == 2
    with pytest.raises(BadSession, match="idle for 60 s"):
        async with sessions.using(idle):
            pass


async def test_the_sweeper_sweeps(closed: list[str]) -> None:
    sessions = table(ttl_s=0.01)
    name = await opened(sessions)
    sweeper = asyncio.create_task(sessions.keep_sweeping())
    async with asyncio.timeout(5):
        while not closed:
            await asyncio.sleep(0.001)
    sweeper.cancel()
    assert closed == [name]


async def test_a_full_table_is_busy_until_something_is_closed_or_idle(closed: list[str]) -> None:
    clock = Clock()
    sessions = table(clock=clock, capacity=2, ttl_s=60)
    first, second = await opened(sessions), await opened(sessions)
    with pytest.raises(Busy, match="2 sessions"):
        await opened(sessions)
    await sessions.close(first)
    await opened(sessions)
    clock.now += 60
    await opened(sessions)
    assert set(closed) >= {first, second}


async def test_a_setup_that_raises_leaves_nothing(closed: list[str]) -> None:
    sessions = table(capacity=1)
    for _ in range(2):
        with pytest.raises(OSError, match="no room"):
            await opened(sessions, fail_setup=True)
    assert len(sessions) == 0
    assert closed == []
    await opened(sessions)


async def test_a_close_that_raises_is_told_once_and_the_session_is_gone(closed: list[str]) -> None:
    sessions = table()
    name = await opened(sessions, fail_close=True)
    with pytest.raises(EnvironmentFault, match="OSError: stuck"):
        await sessions.close(name)
    await sessions.close(name)
    assert closed == [name]


async def test_the_same_key_returns_the_same_session() -> None:
    sessions = table()
    names = await asyncio.gather(*(opened(sessions, key="k") for _ in range(3)))
    assert len(set(names)) == 1
    assert await opened(sessions, key="other") != names[0]
    await sessions.close(names[0])
    assert await opened(sessions, key="k") != names[0]


async def test_a_key_whose_first_try_failed_can_be_tried_again() -> None:
    sessions = table()
    with pytest.raises(OSError, match="no room"):
        await opened(sessions, key="k", fail_setup=True)
    assert await opened(sessions, key="k")


def test_a_worker_name_with_a_dot_is_refused() -> None:
    with pytest.raises(ValueError, match="has no dot"):
        table(worker="a.b")
