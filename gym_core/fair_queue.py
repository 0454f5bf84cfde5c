"""Who is served next where several environments wait for the same workers: turns are fair in time, not in number.

Each lane has its own bounded queue. A free worker goes to the lane with the fewest jobs at work, among those to the one
that has used the least worker time. A lane that was idle starts at the level of the others: what it did not use is not
saved up. So an environment whose checks take ten seconds, or whose queue is full, costs the others one job's wait.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(slots=True, eq=False)
class Lane(Generic[T]):
    """One environment's place: who waits, how many of its jobs are at work, how many seconds they have used."""

    limit: int
    waiting: deque[asyncio.Future[T]] = field(default_factory=deque)
    running: int = 0
    used_s: float = 0.0

    @property
    def full(self) -> bool:
        return len(self.waiting) >= self.limit


class FairQueue(Generic[T]):
    """Callers in lanes; what they wait for is a future that `serve` fulfils."""

    def __init__(self) -> None:
        self._lanes: list[Lane[T]] = []

    def join(self, lane: Lane[T]) -> None:
        self._lanes.append(lane)

    def leave(self, lane: Lane[T]) -> None:
        self._lanes.remove(lane)

    def wait(self, lane: Lane[T]) -> asyncio.Future[T]:
        """A place at the end of the lane."""
        self._wake(lane)
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        lane.waiting.append(waiter)
        return waiter

    def skip(self, lane: Lane[T]) -> None:
        """Count a job that found something idle and need not wait."""
        self._wake(lane)
        lane.running += 1

    def serve(self, thing: T) -> bool:
        """Give `thing` to whose turn it is, and count that lane's job as running; False where nobody waits."""
        while lane := self._next():
            waiter = lane.waiting.popleft()
            if not waiter.done():
                lane.running += 1
                waiter.set_result(thing)
                return True
        return False

    def fail(self, error: Exception) -> None:
        """Everybody who waits gets this error."""
        for lane in self._lanes:
            fail(lane, error)

    def _wake(self, lane: Lane[T]) -> None:
        if lane.waiting or lane.running:
            return
        others = [other.used_s for other in self._lanes if other is not lane and (other.waiting or other.running)]
        if others:
            lane.used_s = max(lane.used_s, min(others))
        else:  # nobody is at work: the count begins anew
            for any_lane in self._lanes:
                any_lane.used_s = 0.0

    def _next(self) -> Lane[T] | None:
        waiting = [lane for lane in self._lanes if lane.waiting]
        return min(waiting, key=lambda lane: (lane.running, lane.used_s), default=None)


def fail(lane: Lane[T], error: Exception) -> None:
    """Everybody who waits in this lane gets this error."""
    for waiter in lane.waiting:
        if not waiter.done():
            waiter.set_exception(error)
    lane.waiting.clear()
