"""A bound that is set once something waits is the same bound: values, failures, cancellation, time."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gym_core.within import within

LONG = 60.0


async def _value(value: Any) -> Any:
    return value


async def _after(event: asyncio.Event, value: Any) -> Any:
    await event.wait()
    await asyncio.sleep(0)
    return value


async def _failing() -> None:
    await asyncio.sleep(0)
    raise KeyError("inner")


@pytest.mark.parametrize("seconds", [None, LONG, 0.0])
async def test_what_waits_for_nothing_gives_its_value_and_sets_no_timer(
    seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asyncio, "timeout", None)
    assert await within(seconds, _value(3)) == 3


async def test_what_waits_gives_its_value_once_it_is_there() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(within(LONG, _after(event, "late")))
    await asyncio.sleep(0)
    event.set()
    assert await task == "late"


@pytest.mark.parametrize("seconds", [0.0, 0.01])
async def test_who_waits_longer_is_cut_off(seconds: float) -> None:
    left = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            left.append(True)

    with pytest.raises(TimeoutError):
        await within(seconds, hang())
    assert left == [True]
    task = asyncio.current_task()
    assert task is not None and task.cancelling() == 0


async def test_a_failure_passes_before_and_after_the_first_wait() -> None:
    async def at_once() -> None:
        raise ValueError("at once")

    with pytest.raises(ValueError, match="at once"):
        await within(LONG, at_once())
    with pytest.raises(KeyError, match="inner"):
        await within(LONG, _failing())


async def test_a_cancellation_reaches_what_waits_and_is_no_timeout() -> None:
    seen = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    task = asyncio.create_task(within(LONG, hang()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert seen == ["cancelled"]


async def test_an_inner_bound_that_was_set_first_is_the_one_that_ends_it() -> None:
    async def bounded() -> str:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            return "inner"
        raise AssertionError("unreachable")

    assert await within(LONG, bounded()) == "inner"


async def test_bounds_lie_inside_each_other() -> None:
    with pytest.raises(TimeoutError):
        await within(LONG, within(0.01, _after(asyncio.Event(), "never")))
