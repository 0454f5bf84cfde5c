"""The calendar that a reply states: its last JSON list of objects, or its last empty list, read strictly.

The text is scanned once from left to right with the JSON decoder, from each `[` that no list read so far covers and
that may begin a list of objects. A failed attempt costs as many characters as it read; together they may cost
`PATIENCE` times the text and be `MAX_FAILURES` at most (an error of the decoder counts the lines before it), so that
brackets inside brackets cannot buy more than linear time.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from environments.calendar.times import strict_minutes

MAX_LENGTH = 400_000
"""Characters of a reply; longer ones are not read."""

PATIENCE = 8
MAX_FAILURES = 1000
NESTED = 1000
"""What an attempt costs that ends in the decoder's own recursion limit."""

_OPENING = re.compile(r"\[[ \t\r\n]*[\[{\]]")


class Unreadable(ValueError):
    """Why a reply states no calendar; also what the decoder would take and is no JSON: NaN, a key twice."""


@dataclass(slots=True, frozen=True)
class Entry:
    """One stated event; `start` in minutes from midnight."""

    event_id: int
    name: str
    start: int
    duration: int


def read_calendar(text: str) -> list[Entry]:
    """The events of the calendar that counts. Raises `Unreadable` with the reason."""
    if len(text) > MAX_LENGTH:
        raise Unreadable("a reply of too many characters")
    calendars = [found for found in _lists(text) if all(isinstance(event, dict) for event in found)]
    if not calendars:
        raise Unreadable("no JSON list of events")
    return [_entry(event) for event in calendars[-1]]


def _lists(text: str) -> list[list[Any]]:
    found = []
    patience, failures = PATIENCE * len(text), 0
    opening = _OPENING.search(text)
    while opening is not None:
        position = opening.start()
        end = position + 1
        try:
            value, end = _DECODER.raw_decode(text, position)
            found.append(value)
        except json.JSONDecodeError as error:
            patience -= error.pos - position + 1
            failures += 1
        except RecursionError:
            patience -= NESTED
            failures += 1
        if patience < 0 or failures > MAX_FAILURES:
            raise Unreadable("too many brackets that close nothing")
        opening = _OPENING.search(text, end)
    return found


def _no_constant(name: str) -> NoReturn:
    raise Unreadable(f"{name} is no JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise Unreadable("a key stands twice in one object")
    return made


def _whole(digits: str) -> int:
    if len(digits) > 20:
        raise Unreadable("a number of more than 20 digits")
    return int(digits)


_DECODER = json.JSONDecoder(parse_constant=_no_constant, object_pairs_hook=_no_duplicates, parse_int=_whole)


def _entry(event: dict[str, Any]) -> Entry:
    """One event with the four fields in their types; more fields are left alone."""
    event_id, name, duration = event.get("event_id"), event.get("event_name"), event.get("duration")
    if type(event_id) is not int:
        raise Unreadable(f"`event_id` must be an integer, not {_short(event_id)}")
    if not isinstance(name, str) or not name.strip():
        raise Unreadable(f"`event_name` must be text, not {_short(name)}")
    if type(duration) is not int:
        raise Unreadable(f"`duration` must be a number of minutes, not {_short(duration)}")
    start = strict_minutes(event.get("start_time"))
    if start is None:
        raise Unreadable(f"`start_time` must be HH:MM, not {_short(event.get('start_time'))}")
    return Entry(event_id, name, start, duration)


def _short(value: object) -> str:
    return repr(value)[:40] if not isinstance(value, dict | list) else type(value).__name__
