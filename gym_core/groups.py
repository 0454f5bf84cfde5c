"""Verdicts that need the whole group: members are gathered, judged once when all are there or the deadline has passed.

verify (member 1..n) ─▶ pending … ─▶ complete | deadline ─▶ verify_group ─▶ group_verdict (each member)
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from gym_core.contracts import PendingVerdict, Verdict
from gym_core.environment import GroupEntry
from gym_core.errors import Busy, Conflict, DeadlineExceeded, EnvironmentFault, PalaestraError, UnknownName

Judge = Callable[[list[GroupEntry]], Awaitable[Sequence[Verdict | PalaestraError]]]


@dataclass(slots=True)
class _Group:
    want: int
    deadline: float
    entries: dict[str, GroupEntry] = field(default_factory=dict)
    verdicts: dict[str, Verdict | PalaestraError] = field(default_factory=dict)
    error: PalaestraError | None = None
    judging: bool = False
    judged: asyncio.Event = field(default_factory=asyncio.Event)
    timer: asyncio.TimerHandle | None = None
    told: set[str] = field(default_factory=set)


class Groups:
    """The groups of one environment. A judged one is kept for as long again as its deadline, then forgotten: before
    that only when there is no room left and all its members have been told."""

    def __init__(self, judge: Judge, deadline_s: float, capacity: int = 4096) -> None:
        self.deadline_s = deadline_s
        self.capacity = capacity
        self._judge = judge
        self._groups: dict[str, _Group] = {}
        self._all_told: dict[str, None] = {}
        """Groups whose every member has its verdict, the first to have them first."""
        self._tasks: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._groups)

    def add(self, group_id: str, want: int, entry: GroupEntry) -> PendingVerdict:
        """Enter a member; the same rollout twice counts once. Raises `Conflict` for a member that does not belong,
        `DeadlineExceeded` for one that comes too late, `Busy` when there are too many groups."""
        loop = asyncio.get_running_loop()
        group = self._groups.get(group_id)
        if group is None:
            if len(self._groups) >= self.capacity and self._all_told:
                self._forget(next(iter(self._all_told)))
            if len(self._groups) >= self.capacity:
                raise Busy(f"{self.capacity} groups are open already", retry_after_s=self.deadline_s)
            group = self._groups[group_id] = _Group(want, loop.time() + self.deadline_s)
            group.timer = loop.call_later(self.deadline_s, self._start, group_id, group)
        if entry.rollout_id in group.entries:
            return self._pending(group_id, group)
        self._check(group_id, group, want, entry)
        group.entries[entry.rollout_id] = entry
        if len(group.entries) == group.want:
            self._start(group_id, group)
        return self._pending(group_id, group)

    async def wait(self, group_id: str, rollout_id: str, wait_s: float) -> Verdict | PendingVerdict:
        """This member's verdict, or what is missing after `wait_s`. Raises `UnknownName`, or why judging failed."""
        group = self._groups.get(group_id)
        if group is None or rollout_id not in group.entries:
            raise UnknownName(
                f"rollout {rollout_id!r} of group {group_id!r} was never verified here, or long ago",
                field="rollout_id" if group else "group_id",
            )
        try:
            async with asyncio.timeout(wait_s):
                await group.judged.wait()
        except TimeoutError:
            return self._pending(group_id, group)
        group.told.add(rollout_id)
        if len(group.told) == len(group.entries) and group_id in self._groups:
            self._all_told[group_id] = None
        if group.error is not None:
            raise PalaestraError.from_info(group.error.info())
        verdict = group.verdicts[rollout_id]
        if isinstance(verdict, PalaestraError):
            raise PalaestraError.from_info(verdict.info())
        return verdict

    async def close(self) -> None:
        """Forget everything; who waits gets an `EnvironmentFault`."""
        for group in self._groups.values():
            if group.timer is not None:
                group.timer.cancel()
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks))
        for group in self._groups.values():
            if not group.judged.is_set():
                group.error = EnvironmentFault("the environment was shut down before the group was judged")
                group.judged.set()
        self._groups.clear()
        self._all_told.clear()

    def _forget(self, group_id: str) -> None:
        self._all_told.pop(group_id, None)
        group = self._groups.pop(group_id, None)
        if group is not None and group.timer is not None:
            group.timer.cancel()

    def _check(self, group_id: str, group: _Group, want: int, entry: GroupEntry) -> None:
        if want != group.want:
            raise Conflict(f"group {group_id!r} has {group.want} members, not {want}", field="palaestra.group_size")
        first = next(iter(group.entries.values()), entry)
        if first.task.task_id != entry.task.task_id:
            raise Conflict(
                f"group {group_id!r} is of task {first.task.task_id}, not {entry.task.task_id}", field="task_id"
            )
        if first.grading is not entry.grading:
            raise Conflict(
                f"group {group_id!r} is graded {first.grading}, not {entry.grading}", field="palaestra.grading"
            )
        if group.judging and len(group.entries) == group.want:
            raise Conflict(f"group {group_id!r} is complete", field="palaestra.group_id")
        if group.judging:
            raise DeadlineExceeded(f"group {group_id!r} was judged at its deadline, without this member")

    def _pending(self, group_id: str, group: _Group) -> PendingVerdict:
        left = max(0.0, group.deadline - asyncio.get_running_loop().time())
        return PendingVerdict(group_id=group_id, have=len(group.entries), want=group.want, deadline_s=left)

    def _start(self, group_id: str, group: _Group) -> None:
        if group.judging:
            return
        group.judging = True
        if group.timer is not None:
            group.timer.cancel()
        task = asyncio.get_running_loop().create_task(self._finish(group_id, group))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, group_id: str, group: _Group) -> None:
        try:
            verdicts = await self._judge(list(group.entries.values()))
            group.verdicts = dict(zip(group.entries, verdicts, strict=True))
        except PalaestraError as error:
            group.error = error
        group.judged.set()
        loop = asyncio.get_running_loop()
        group.timer = loop.call_later(self.deadline_s, self._forget, group_id)
