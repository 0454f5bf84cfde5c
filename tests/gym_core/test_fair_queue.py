"""Turns: by lane, by time used, never saved up."""

from __future__ import annotations

import asyncio

import pytest

from gym_core.fair_queue import FairQueue, Lane, fail


def lanes(count: int, limit: int = 100) -> tuple[FairQueue[str], list[Lane[str]]]:
    queue: FairQueue[str] = FairQueue()
    made: list[Lane[str]] = [Lane(limit) for _ in range(count)]
    for lane in made:
        queue.join(lane)
    return queue, made


def done(lane: Lane[str], seconds: float) -> None:
    lane.running -= 1
    lane.used_s += seconds


def served(queue: FairQueue[str], made: list[Lane[str]], cost: list[float], turns: int) -> str:
    """Which lane got each of so many turns of a single worker, as letters."""
    order = ""
    for _ in range(turns):
        before = [len(lane.waiting) for lane in made]
        assert queue.serve("w")
        number = next(n for n, lane in enumerate(made) if len(lane.waiting) < before[n])
        order += "abc"[number]
        done(made[number], cost[number])
    return order


async def test_lanes_of_equal_cost_take_turns_however_long_their_queues() -> None:
    queue, made = lanes(2)
    for lane, count in zip(made, (50, 3), strict=True):
        for _ in range(count):
            queue.wait(lane)
    assert served(queue, made, [1.0, 1.0], 7) == "abababa"


async def test_a_slow_lane_gets_its_share_of_time_and_not_of_turns() -> None:
    queue, made = lanes(2)
    for lane in made:
        for _ in range(30):
            queue.wait(lane)
    order = served(queue, made, [10.0, 1.0], 23)
    assert order == "a" + "b" * 10 + "ab" + "b" * 9 + "a"


async def test_time_that_was_not_used_is_not_saved_up() -> None:
    queue, made = lanes(2)
    queue.skip(made[0])
    made[0].used_s += 100.0  # alone for a long time, and still at work
    queue.wait(made[1])
    assert made[1].used_s == 100.0
    assert queue.serve("w")
    done(made[0], 1.0)
    done(made[1], 1.0)
    queue.wait(made[0])  # nobody is at work: the count begins anew
    assert [lane.used_s for lane in made] == [0.0, 0.0]


async def test_a_lane_without_a_job_at_work_comes_first() -> None:
    queue, made = lanes(2)
    first = queue.wait(made[0])
    assert queue.serve("one") and first.result() == "one"
    queue.wait(made[0])
    late = queue.wait(made[1])
    made[1].used_s = 50.0
    assert queue.serve("two") and late.result() == "two"


async def test_who_has_left_is_passed_over() -> None:
    queue, (lane, _) = lanes(2)
    gone, stays = queue.wait(lane), queue.wait(lane)
    gone.cancel()
    assert queue.serve("w") and stays.result() == "w" and lane.running == 1
    assert not queue.serve("w")


async def test_a_lane_is_full_by_itself() -> None:
    queue, (one, other) = lanes(2, limit=2)
    for _ in range(2):
        queue.wait(one)
    assert one.full and not other.full


async def test_failing_a_lane_leaves_the_others() -> None:
    queue, (one, other) = lanes(2)
    first, second = queue.wait(one), queue.wait(other)
    fail(one, ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await first
    assert not second.done()
    queue.fail(ValueError("end"))
    with pytest.raises(ValueError, match="end"):
        await asyncio.wait_for(second, 10)
