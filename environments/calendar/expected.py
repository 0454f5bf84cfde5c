"""What a calendar must hold: for each event id a duration and the window in which it may start.

before T   ends at T or earlier          between T1 and T2   starts at T1 or later, ends at T2 or earlier
after T    starts at T or later          at T                starts at T             null   anywhere in the day
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from environments.calendar.times import CLOSING, OPENING, lenient_minutes, spoken


@dataclass(slots=True, frozen=True)
class Constraint:
    """`kind` is free, before, after, between or at; `first` and `second` are minutes from midnight."""

    kind: str = "free"
    first: int = 0
    second: int = 0

    @property
    def text(self) -> str | None:
        """As the published rows write it."""
        if self.kind == "free":
            return None
        if self.kind == "between":
            return f"between {spoken(self.first)} and {spoken(self.second)}"
        return f"{self.kind} {spoken(self.first)}"


@dataclass(slots=True, frozen=True)
class Wanted:
    """One event that the calendar must hold; it may start from `earliest` to `latest`, both included (minutes)."""

    event_id: int
    duration: int
    earliest: int
    latest: int
    name: str | None = None

    @classmethod
    def of(
        cls,
        event_id: int,
        duration: int,
        constraint: Constraint,
        name: str | None = None,
        day: tuple[int, int] = (OPENING, CLOSING),
    ) -> Wanted:
        earliest, latest = day[0], day[1] - duration
        if constraint.kind in ("after", "between", "at"):
            earliest = max(earliest, constraint.first)
        if constraint.kind == "before":
            latest = min(latest, constraint.first - duration)
        elif constraint.kind == "between":
            latest = min(latest, constraint.second - duration)
        elif constraint.kind == "at":
            latest = min(latest, constraint.first)
        return cls(event_id, duration, earliest, latest, name)

    def admits(self, start: int) -> bool:
        return self.earliest <= start <= self.latest


def read_constraint(text: str | None) -> Constraint:
    """A published constraint. Raises `ValueError` for one of another form: the public verifier ignores those."""
    if text is None:
        return Constraint()
    kind, _, rest = text.partition(" ")
    if kind in ("before", "after", "at"):
        return Constraint(kind, lenient_minutes(rest))
    if kind == "between":
        first, second = rest.split(" and ")
        return Constraint(kind, lenient_minutes(first), lenient_minutes(second))
    raise ValueError("it is none of: before T, after T, between T1 and T2, at T, null")


def published_entry(event_id: int, duration: int, constraint: Constraint, name: str | None = None) -> dict[str, Any]:
    """The event as an entry of `exp_cal_state`."""
    entry: dict[str, Any] = {"event_id": event_id}
    if name is not None:
        entry["event_name"] = name
    return {
        **entry,
        "duration": duration,
        "constraint": constraint.text,
        "min_time": "10:00",
        "max_time": "16:00",
    }


def overlap(spans: Iterable[tuple[int, int]]) -> bool:
    """Whether two of these (start, duration) share a minute. Durations are positive."""
    ordered = sorted(spans)
    return any(start + duration > following for (start, duration), (following, _) in pairwise(ordered))
