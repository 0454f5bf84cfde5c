"""Published calendar rows: null padding dropped, what no reply could satisfy refused."""

from __future__ import annotations

from typing import Any

from environments.calendar.expected import Wanted, read_constraint
from environments.calendar.solver import MAX_EVENTS, schedule
from environments.calendar.times import lenient_minutes
from gym_core.contracts import Task
from gym_core.errors import BadRow

FIELD = "exp_cal_state"
MAX_DURATION = 24 * 60


def ingest(task: Task) -> Task:
    """The task with its padding dropped (the row itself stays as it came). Raises `BadRow` naming the field."""
    state = task.fields.get(FIELD)
    if not isinstance(state, dict):
        raise BadRow(
            f"a calendar row needs `{FIELD}`, an object of events by id",
            field=FIELD,
            hint="an empty one says that no event is wanted; the reply must then state []",
        )
    task.hidden = {**task.hidden, FIELD: {key: entry for key, entry in state.items() if entry is not None}}
    events = wanted(task)
    if len(events) <= MAX_EVENTS and schedule(events) is None:
        raise BadRow("no calendar can honour all constraints of this row", field=FIELD)
    return task


def wanted(task: Task) -> list[Wanted]:
    """The events that the task wants, by id. Raises `BadRow` naming the field."""
    names = task.get("names") or {}
    return [_wanted(key, entry, names.get(key)) for key, entry in task[FIELD].items()]


def _wanted(key: str, entry: Any, name: str | None) -> Wanted:
    where = f"{FIELD}.{key}"
    if not isinstance(entry, dict):
        raise BadRow(f"an event must be an object, not {type(entry).__name__}", field=where)
    duration = entry.get("duration")
    if type(duration) is not int and not (isinstance(duration, float) and duration.is_integer()):
        raise BadRow(f"a duration must be a whole number of minutes, not {duration!r}", field=f"{where}.duration")
    if not 1 <= duration <= MAX_DURATION:
        raise BadRow(f"a duration lies between 1 and {MAX_DURATION} minutes", field=f"{where}.duration")
    day = (_time(entry, "min_time", where), _time(entry, "max_time", where))
    given = entry.get("constraint")
    try:
        constraint = read_constraint(given)
    except (AttributeError, ValueError) as error:
        raise BadRow(f"the constraint {given!r} cannot be read: {error}", field=f"{where}.constraint") from None
    return Wanted.of(_id(key, entry, where), int(duration), constraint, name, day)


def _id(key: str, entry: dict[str, Any], where: str) -> int:
    if not (key.isascii() and key.isdigit() and str(int(key)) == key):
        raise BadRow(f"an event id must be a whole number, not {key!r}", field=where)
    given = entry.get("event_id", int(key))
    if str(given) != key:
        raise BadRow(f"event {key} says that its id is {given!r}", field=f"{where}.event_id")
    return int(key)


def _time(entry: dict[str, Any], name: str, where: str) -> int:
    given = entry.get(name)
    try:
        return lenient_minutes(given)  # type: ignore[arg-type]
    except (AttributeError, ValueError):
        raise BadRow(f"`{name}` must be a time such as 10:00 or 4pm, not {given!r}", field=f"{where}.{name}") from None
