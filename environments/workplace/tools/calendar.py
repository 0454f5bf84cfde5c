"""Calendar: read, search, create, delete and update events."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from environments.workplace.desk import Desk, Row
from environments.workplace.tables import COLUMNS, EVENTS
from environments.workplace.tools.matching import contains
from environments.workplace.tools.paging import page_of
from environments.workplace.tools.timestamps import timestamp
from gym_core.tools import tool

_BAD_ID = "Invalid event ID format. Expected 8-digit ID."
_CHANGEABLE = COLUMNS[EVENTS][1:]


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 8 and value.isdigit()


def _bad_time(name: str) -> str:
    return f"Invalid {name} format. Expected YYYY-MM-DD HH:MM:SS."


@tool(read_only=True)
def get_event_information_by_id(desk: Desk, event_id: str, field: str) -> Any:
    """Read one field of an event.

    Args:
        event_id: 8-digit id of the event
        field: event_id, event_name, participant_email, event_start or duration
    """
    if not event_id:
        return "Event ID not provided."
    if not field:
        return "Field not provided."
    if not _is_id(event_id):
        return _BAD_ID
    if field not in COLUMNS[EVENTS]:
        return f"Invalid field. Available fields are: {', '.join(COLUMNS[EVENTS])}"
    event = desk.get(EVENTS, event_id)
    return {field: event[field]} if event else "Event not found."


@tool(read_only=True)
def search_events(
    desk: Desk, query: str = "", time_min: str = "", time_max: str = "", page: int = 1, page_size: int = 5
) -> Any:
    """Search events by name or participant, latest first.

    Args:
        query: text in the name of the event or in the address of the participant
        time_min: earliest start, YYYY-MM-DD HH:MM:SS
        time_max: latest start, YYYY-MM-DD HH:MM:SS
        page: page of the result, from 1
        page_size: events on a page
    """
    low, high = None, None
    try:
        low = timestamp(time_min) if time_min else None
    except ValueError:
        return _bad_time("time_min")
    try:
        high = timestamp(time_max) if time_max else None
    except ValueError:
        return _bad_time("time_max")
    found = [
        event
        for event in desk.rows(EVENTS)
        if (contains(event["event_name"], query) or contains(event["participant_email"], query))
        and _starts_between(event, low, high)
    ]
    if not found:
        return "No events found."
    found.sort(key=lambda event: timestamp(event["event_start"]), reverse=True)
    return page_of(found, "events", page, page_size)


def _starts_between(event: Row, low: datetime | None, high: datetime | None) -> bool:
    start = timestamp(event["event_start"])
    return (low is None or start >= low) and (high is None or start <= high)


def _bad_duration(value: Any) -> str:
    """What is wrong with a duration, "" where nothing is."""
    try:
        return "" if int(value) > 0 else "Duration must be a positive number of minutes."
    except ValueError:
        return "Invalid duration format. Expected a number of minutes."


@tool
def create_event(desk: Desk, event_name: str, participant_email: str, event_start: str, duration: str) -> Any:
    """Create an event; answers its id.

    Args:
        event_name: name of the event
        participant_email: address of the participant
        event_start: YYYY-MM-DD HH:MM:SS
        duration: minutes
    """
    if not event_name:
        return "Event name not provided."
    if not participant_email:
        return "Participant email not provided."
    if not event_start:
        return "Event start not provided."
    if not duration:
        return "Event duration not provided."
    try:
        timestamp(event_start)
    except ValueError:
        return _bad_time("event_start")
    if wrong := _bad_duration(duration):
        return wrong
    participant_email = participant_email.lower()
    key = _next_id(desk)
    values = (key, event_name, participant_email, event_start, duration)
    desk.append(EVENTS, dict(zip(COLUMNS[EVENTS], values, strict=True)))
    return key


def _next_id(desk: Desk) -> str:
    highest = desk.highest(EVENTS)
    if highest is None:
        raise ValueError("cannot convert float NaN to integer")
    return str(int(highest) + 1).zfill(8)


@tool
def delete_event(desk: Desk, event_id: str) -> Any:
    """Delete an event.

    Args:
        event_id: 8-digit id of the event
    """
    if not event_id:
        return "Event ID not provided."
    if not _is_id(event_id):
        return _BAD_ID
    return "Event deleted successfully." if desk.delete(EVENTS, event_id) else "Event not found."


@tool
def update_event(desk: Desk, event_id: str, field: str, new_value: str) -> Any:
    """Change one field of an event.

    Args:
        event_id: 8-digit id of the event
        field: event_name, participant_email, event_start or duration
        new_value: the new value
    """
    if not event_id or not field or not new_value:
        return "Event ID, field, or new value not provided."
    if not _is_id(event_id):
        return _BAD_ID
    if field not in _CHANGEABLE:
        return f"Invalid field. Available fields are: {', '.join(_CHANGEABLE)}"
    if field == "event_start":
        try:
            timestamp(new_value)
        except ValueError:
            return _bad_time("event_start")
    elif field == "duration" and (wrong := _bad_duration(new_value)):
        return wrong
    if field == "participant_email" and desk.get(EVENTS, event_id):
        new_value = new_value.lower()
    return "Event updated successfully." if desk.update(EVENTS, event_id, field, new_value) else "Event not found."
