"""A schedule for events with start windows, or the knowledge that there is none: exact, over all subsets.

    finish[S] = min over e in S with s = max(finish[S - e], earliest(e)) <= latest(e)  of  s + duration(e)

Whatever order the events of S come in, an earlier end leaves more room for the rest, so one number per subset is
enough: 2^n · n steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from environments.calendar.expected import Wanted

MAX_EVENTS = 12


def schedule(events: Sequence[Wanted]) -> dict[int, int] | None:
    """Start of each event id, or None where no calendar honours all windows. At most `MAX_EVENTS` events."""
    if len(events) > MAX_EVENTS:
        raise ValueError(f"{len(events)} events are too many: at most {MAX_EVENTS}")
    full = (1 << len(events)) - 1
    finish: list[int | None] = [None] * (full + 1)
    last = [-1] * (full + 1)
    finish[0] = -(10**9)
    for subset in range(full):
        ends = finish[subset]
        if ends is None:
            continue
        for number, event in enumerate(events):
            start = max(ends, event.earliest)
            grown = subset | 1 << number
            if grown == subset or start > event.latest:
                continue
            end, known = start + event.duration, finish[grown]
            if known is None or end < known:
                finish[grown], last[grown] = end, number
    return None if finish[full] is None else _unwind(events, finish, last, full)


def _unwind(events: Sequence[Wanted], finish: list[int | None], last: list[int], subset: int) -> dict[int, int]:
    starts: dict[int, int] = {}
    while subset:
        event, end = events[last[subset]], finish[subset]
        assert end is not None, "every subset on the way was reached"
        starts[event.event_id] = end - event.duration
        subset ^= 1 << last[subset]
    return starts
