"""Strict grading: the calendar that the reply states holds exactly the wanted events, where they may be.

last list ─▶ types ─▶ each wanted id once and no other ─▶ names (where known) ─▶ durations ─▶ windows ─▶ no overlap
"""

from __future__ import annotations

from collections.abc import Sequence

from environments.calendar.expected import Wanted, overlap
from environments.calendar.reading import Entry, Unreadable, read_calendar
from environments.calendar.times import clock


def grade_strict(wanted: Sequence[Wanted], text: str) -> tuple[float, str]:
    """Reward and reason. Where no event is wanted, the empty calendar must be stated: `[]`."""
    if not text.strip():
        return 0.0, "empty"
    try:
        stated = read_calendar(text)
    except Unreadable as error:
        return 0.0, str(error)
    complaint = _complaint(wanted, stated)
    return float(not complaint), complaint or "as wanted"


def _complaint(wanted: Sequence[Wanted], stated: Sequence[Entry]) -> str:
    """What is wrong with the stated calendar, or nothing."""
    ids = {event.event_id for event in wanted}
    if len(stated) != len(ids):
        return f"{len(stated)} events, {len(ids)} are wanted"
    by_id = {entry.event_id: entry for entry in stated}
    if set(by_id) != ids:
        return "other event ids, or one twice"
    for event in wanted:
        entry = by_id[event.event_id]
        if event.name is not None and folded(entry.name) != folded(event.name):
            return f"event {event.event_id} has another name"
        if entry.duration != event.duration:
            return f"event {event.event_id} takes {event.duration} minutes, not {entry.duration}"
        if not event.admits(entry.start):
            return f"event {event.event_id} cannot start at {clock(entry.start)}"
    if overlap((entry.start, entry.duration) for entry in stated):
        return "events overlap"
    return ""


def folded(name: str) -> str:
    """A name without what does not count: case and runs of spaces."""
    return " ".join(name.split()).casefold()
