"""Group verdicts: judged once when complete or at the deadline; nobody is given a verdict who was not judged."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from gym_core.contracts import Grading, PendingVerdict, Task, Verdict
from gym_core.environment import GroupEntry
from gym_core.errors import Busy, Conflict, DeadlineExceeded, EnvironmentFault, JudgeFault, UnknownName
from gym_core.groups import Groups
from gym_core.reply import Reply


def entry(rollout_id: str, text: str = "x", task_id: str = "t") -> GroupEntry:
    task = Task(environment="e", task_id=task_id, responses_create_params={"input": "q"})
    return GroupEntry(rollout_id, task, Reply(text))


class Judge:
    """Gives each member its place, and remembers whom it judged."""

    def __init__(self) -> None:
        self.judged: list[list[str]] = []
        self.error: EnvironmentFault | None = None

    async def __call__(self, entries: list[GroupEntry]) -> list[Verdict]:
        self.judged.append([entry.rollout_id for entry in entries])
        if self.error:
            raise self.error
        return [Verdict(reward=float(number)) for number in range(len(entries))]


async def test_a_group_is_judged_when_its_last_member_comes() -> None:
    judge = Judge()
    groups = Groups(judge, deadline_s=60)
    assert groups.add("g", 2, entry("a")).have == 1
    waiting = asyncio.create_task(groups.wait("g", "a", 10))
    pending = groups.add("g", 2, entry("b"))
    assert (pending.have, pending.want) == (2, 2)
    assert (await waiting) == Verdict(reward=0.0)
    assert (await groups.wait("g", "b", 0)) == Verdict(reward=1.0)
    assert judge.judged == [["a", "b"]]
    await groups.close()


async def test_at_the_deadline_those_are_judged_who_are_there() -> None:
    judge = Judge()
    groups = Groups(judge, deadline_s=0.02)
    groups.add("g", 3, entry("a"))
    groups.add("g", 3, entry("b"))
    assert await groups.wait("g", "b", 5) == Verdict(reward=1.0)
    with pytest.raises(DeadlineExceeded, match="without this member"):
        groups.add("g", 3, entry("late"))
    with pytest.raises(UnknownName):
        await groups.wait("g", "late", 0)
    assert judge.judged == [["a", "b"]]
    await groups.close()


async def test_a_member_sent_twice_counts_once() -> None:
    groups = Groups(Judge(), deadline_s=60)
    groups.add("g", 2, entry("a", "first"))
    assert groups.add("g", 2, entry("a", "second")).have == 1
    groups.add("g", 2, entry("b"))
    assert groups.add("g", 2, entry("b")).have == 2
    await groups.close()


async def test_what_does_not_belong_is_refused() -> None:
    groups = Groups(Judge(), deadline_s=60)
    groups.add("g", 2, entry("a"))
    with pytest.raises(Conflict, match="has 2 members, not 3"):
        groups.add("g", 3, entry("b"))
    with pytest.raises(Conflict, match="of task t, not u"):
        groups.add("g", 2, entry("b", task_id="u"))
    groups.add("g", 2, entry("b"))
    with pytest.raises(Conflict, match="complete"):
        groups.add("g", 2, entry("c"))
    await groups.close()


async def test_waiting_ends_with_what_is_missing() -> None:
    groups = Groups(Judge(), deadline_s=60)
    groups.add("g", 2, entry("a"))
    pending = await groups.wait("g", "a", 0.01)
    assert isinstance(pending, PendingVerdict)
    assert (pending.have, pending.want) == (1, 2)
    assert 59 < pending.deadline_s <= 60
    with pytest.raises(UnknownName, match="group 'h'"):
        await groups.wait("h", "a", 0)
    await groups.close()


async def test_a_judge_that_fails_fails_every_member() -> None:
    judge = Judge()
    judge.error = EnvironmentFault("it broke", stage="verify_group")
    groups = Groups(judge, deadline_s=60)
    groups.add("g", 2, entry("a"))
    groups.add("g", 2, entry("b"))
    for member in "ab":
        with pytest.raises(EnvironmentFault, match="it broke"):
            await groups.wait("g", member, 5)
    await groups.close()


async def test_there_is_a_bound_on_open_groups() -> None:
    groups = Groups(Judge(), deadline_s=60, capacity=1)
    groups.add("g", 2, entry("a"))
    with pytest.raises(Busy):
        groups.add("h", 2, entry("b"))
    await groups.close()


async def test_groups_that_have_been_told_make_room_and_others_do_not() -> None:
    groups = Groups(Judge(), deadline_s=60, capacity=2)
    groups.add("told", 1, entry("a"))
    await groups.wait("told", "a", 5)
    groups.add("half", 2, entry("a"))
    groups.add("half", 2, entry("b"))
    await groups.wait("half", "a", 5)
    groups.add("new", 1, entry("c"))
    with pytest.raises(UnknownName):
        await groups.wait("told", "a", 5)
    assert isinstance(await groups.wait("half", "b", 5), Verdict)
    await groups.close()


async def test_a_judged_group_is_forgotten_in_time() -> None:
    groups = Groups(Judge(), deadline_s=0.01)
    groups.add("g", 1, entry("a"))
    await groups.wait("g", "a", 5)
    async with asyncio.timeout(5):
        while len(groups):
            await asyncio.sleep(0.001)


async def test_shutting_down_releases_who_waits() -> None:
    groups = Groups(Judge(), deadline_s=60)
    groups.add("g", 2, entry("a"))
    waiting = asyncio.create_task(groups.wait("g", "a", 30))
    await asyncio.sleep(0)
    await groups.close()
    with pytest.raises(EnvironmentFault, match="shut down"):
        await waiting


async def test_a_member_may_have_an_error_of_its_own() -> None:
    async def judge(entries: list[GroupEntry]) -> list[Verdict | JudgeFault]:
        return [JudgeFault("not this one") if entry.rollout_id == "a" else Verdict(reward=1.0) for entry in entries]

    groups = Groups(judge, deadline_s=60)
    groups.add("g", 2, entry("a"))
    groups.add("g", 2, entry("b"))
    with pytest.raises(JudgeFault, match="not this one"):
        await groups.wait("g", "a", 5)
    assert await groups.wait("g", "b", 5) == Verdict(reward=1.0)
    await groups.close()


async def test_members_of_another_grading_do_not_belong() -> None:
    groups = Groups(Judge(), deadline_s=60)
    groups.add("g", 2, entry("a"))
    other = dataclasses.replace(entry("b"), grading=Grading.PUBLISHED)
    with pytest.raises(Conflict, match="graded strict, not published"):
        groups.add("g", 2, other)
    await groups.close()
