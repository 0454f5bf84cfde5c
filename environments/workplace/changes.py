"""What a session changed, in a form that two sessions can be compared in: the strict verdict's view of a desk.

    deleted   ids of rows of the world that are gone
    updated   rows of the world whose values differ, by id
    created   new rows, as a multiset: ids, which follow from the order of calls, are left out
    unsent    mails that were sent and then deleted: what is sent stays sent

Times are compared as times, minutes as numbers, text without regard to case (status, list and board excepted) and to
spaces around it. A row changed and changed back is no difference; `touched` still knows it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from environments.workplace.desk import Desk, is_new
from environments.workplace.tables import COLUMNS, EMAILS, EXACT_CASE, KEY, MUTABLE
from environments.workplace.tools.timestamps import timestamp

_TIMES = frozenset({"event_start", "sent_datetime"})
_DAYS = frozenset({"due_date", "last_contact_date", "follow_up_by"})
Normal = tuple[Any, ...]


@dataclass(slots=True)
class Changes:
    """Differences from the world, by table."""

    deleted: set[tuple[str, int]] = field(default_factory=set)
    updated: dict[tuple[str, int], Normal] = field(default_factory=dict)
    created: Counter[tuple[str, Normal]] = field(default_factory=Counter)
    unsent: int = 0
    touched: set[tuple[str, int]] = field(default_factory=set)
    withdrawn: int = 0
    """New rows that were deleted again."""

    @property
    def empty(self) -> bool:
        return not (self.deleted or self.updated or self.created or self.unsent)

    def same(self, other: Changes) -> bool:
        return (
            self.deleted == other.deleted
            and self.updated == other.updated
            and self.created == other.created
            and self.unsent == other.unsent
        )

    def beyond(self, wanted: Changes) -> int:
        """Collateral: changes that nobody asked for, on rows that had to stay and as new rows."""
        rows = {*self.deleted, *self.updated} - {*wanted.deleted, *wanted.updated}
        kinds = Counter(table for table, _ in self.created.elements())
        wishes = Counter(table for table, _ in wanted.created.elements())
        return len(rows) + (kinds - wishes).total() + max(0, self.unsent - wanted.unsent)

    def detours(self, wanted: Changes) -> int:
        """Rows changed and changed back, and new rows taken back, beyond what the right calls do."""
        restored = self.touched - self.deleted - self.updated.keys() - wanted.touched
        return len(restored) + max(0, self.withdrawn - wanted.withdrawn)


def changes_of(desk: Desk) -> Changes:
    """The differences of a desk from its world."""
    found = Changes()
    for table in MUTABLE:
        base = desk.world.tables[table]
        for position, gone, values in desk.overlay(table):
            place = (table, position)
            if is_new(position):
                if not gone:
                    found.created[table, _normal(table, values, skip_key=True)] += 1
                elif table == EMAILS:
                    found.unsent += 1
                found.withdrawn += bool(gone)
                continue
            found.touched.add(place)
            if gone:
                found.deleted.add(place)
            elif (now := _normal(table, values)) != _normal(table, base[position]):
                found.updated[place] = now
    return found


def _normal(table: str, values: tuple[Any, ...], *, skip_key: bool = False) -> Normal:
    key = KEY.get(table)
    return tuple(
        _normal_value(column, value)
        for column, value in zip(COLUMNS[table], values, strict=True)
        if not (skip_key and column == key)
    )


def _normal_value(column: str, value: Any) -> Any:
    if value is None or value == "":
        return None
    if column == "duration":
        return _minutes(value)
    if not isinstance(value, str):
        return value
    text = value.strip()
    if column in EXACT_CASE:
        return text
    if column in _TIMES:
        return _time(text)
    if column in _DAYS:
        return _time(text)[:10]
    if column == "file_path":
        return _plot(text)
    return text.casefold()


def _minutes(value: Any) -> Any:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return value


def _time(text: str) -> str:
    try:
        return timestamp(text).isoformat(sep=" ")
    except ValueError:
        return text.casefold()


def _plot(path: str) -> str:
    """plots/FIRST_LAST_value_type.png, its two days as days."""
    head, slash, rest = path.partition("/")
    parts = rest.split("_", 2)
    if len(parts) < 3:
        return path.casefold()
    return f"{head}{slash}{_time(parts[0])[:10]}_{_time(parts[1])[:10]}_{parts[2]}".casefold()
