"""The state of one session: a SQLite overlay in front of a world that all sessions share, copied row by row on write.

    base      in-memory database, shared by every session of the process, filled once
    overlay   in-memory database of the session: five empty tables, from a page image made once
    a read    base rows whose position is not in the overlay, and the overlay's rows that are not gone
    a write   touches the overlay only; so a session costs what it changed, and its changes are the overlay

All statements are plain SQL: a SQLAlchemy session per rollout costs more than the rollout's own calls.

`gone` is 1 for a deleted row, 2 for one whose gap was closed by a later append: the public verifier compares row labels
too, and appending to mails, tasks and customers renumbers them while appending to events does not.
"""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec

from environments.workplace.tables import COLUMNS, EVENTS, KEY, MUTABLE, base_schema, overlay_schema

Row = dict[str, Any]
Tables = dict[str, list[tuple[Any, ...]]]
"""Rows of a world by table, columns in the published order."""

_numbers = itertools.count()


def _quoted(columns: tuple[str, ...]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


_NAMES = {table: _quoted(columns) for table, columns in COLUMNS.items()}
_LAST = 1 << 40
"""New rows get positions from here."""

KEPT = 8
"""Overlays that a world keeps for the sessions to come."""

MANY_WRITES = 100


def _view(table: str, where: str) -> str:
    names = _NAMES[table]
    base = f"SELECT position, {names} FROM base.{table} b WHERE {where}"
    if table not in MUTABLE:
        return f"{base} ORDER BY position"
    untouched = f"NOT EXISTS (SELECT 1 FROM main.{table} o WHERE o.position = b.position)"
    changed = f"SELECT position, {names} FROM main.{table} WHERE gone = 0 AND {where}"
    return f"{base} AND {untouched} UNION ALL {changed} ORDER BY position"


_ALL = {table: _view(table, "1") for table in COLUMNS}
_ONE = {table: _view(table, f'"{key}" = ?1') for table, key in KEY.items()}
_HIGHEST = {
    table: f'SELECT max("{key}"), count(*), sum(typeof("{key}") <> \'text\') FROM ({_view(table, "1")})'
    for table, key in KEY.items()
}
_PUT = {
    table: f"INSERT OR REPLACE INTO main.{table} (position, gone, {_NAMES[table]}) "
    f"VALUES (?, 0, {', '.join('?' * len(COLUMNS[table]))})"
    for table in MUTABLE
}


class World:
    """A base database. Sessions attach to it by `uri`; it lives as long as this object."""

    def __init__(self, directory: list[str], tables: Tables) -> None:
        self.directory = directory
        self.tables = tables
        self.uri = f"file:workplace-{next(_numbers)}?mode=memory&cache=shared"
        self._db = sqlite3.connect(self.uri, uri=True, check_same_thread=False)
        with self._db:
            for statement in base_schema():
                self._db.execute(statement)
            for name, rows in tables.items():
                places = ", ".join("?" * (1 + len(COLUMNS[name])))
                numbered = [(number, *row) for number, row in enumerate(rows)]
                self._db.executemany(f"INSERT INTO {name} (position, {_NAMES[name]}) VALUES ({places})", numbered)
        self._db.execute("PRAGMA query_only = 1")
        self._free: list[sqlite3.Connection] = []

    def close(self) -> None:
        while self._free:
            self._free.pop().close()
        self._db.close()

    def lend(self) -> sqlite3.Connection:
        """An overlay in which nothing is changed, attached to this world; whoever has it alone uses it."""
        if self._free:
            return self._free.pop()
        made = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False, uri=True)
        made.deserialize(_empty_overlay())
        made.execute("ATTACH DATABASE ? AS base", (self.uri,))
        return made

    def take_back(self, overlay: sqlite3.Connection, changed: Iterable[str]) -> None:
        """Empty the tables that were changed and keep the overlay for the next session: making one costs more."""
        if len(self._free) >= KEPT:
            overlay.close()
            return
        for table in changed:
            overlay.execute(f"DELETE FROM main.{table}")
        self._free.append(overlay)


@cache
def _empty_overlay() -> bytes:
    """The page image of an overlay in which nothing was changed."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as made:
        for statement in overlay_schema():
            made.execute(statement)
        return made.serialize()


class Desk:
    """What the tools of one session read and write. `fixed_keys` refuses changes of a primary key (the tools ask)."""

    def __init__(self, world: World, *, fixed_keys: bool = True) -> None:
        self.world = world
        self.fixed_keys = fixed_keys
        self.writes = 0
        """Calls that changed, or may have changed, a row."""
        self.lookups = 0
        """Read-only calls that were answered."""
        self._changed: set[str] = set()
        """Tables of which the overlay has, or may have, rows."""
        self._lent: sqlite3.Connection | None = None
        self._closed = False

    def _db(self) -> sqlite3.Connection:
        """The overlay, from the first statement on: many a session asks for nothing that lies there."""
        if self._lent is None:
            if self._closed:
                raise sqlite3.ProgrammingError("this desk is closed")
            self._lent = self.world.lend()
        return self._lent

    def close(self) -> None:
        """Give the overlay back. Idempotent; nothing can be read afterwards."""
        self._closed = True
        lent, self._lent = self._lent, None
        if lent is None:
            return
        if self.writes > MANY_WRITES:  # the pages that it grew to are not kept
            lent.close()
        else:
            self.world.take_back(lent, self._changed)

    def rows(self, table: str) -> list[Row]:
        """All rows in order."""
        return [_row(table, values) for _, *values in self._db().execute(_ALL[table])]

    def placed(self, table: str) -> list[tuple[int, tuple[Any, ...]]]:
        """All rows in order, as (position, values)."""
        return [(found[0], found[1:]) for found in self._db().execute(_ALL[table])]

    def get(self, table: str, key: Any) -> Row | None:
        """The first row of that id; an id of another type than text names no row."""
        found = self._matching(table, key)
        return _row(table, found[0][1:]) if found else None

    def holds(self, table: str, field: str, value: str) -> bool:
        """True where a row has this text in a field, in any case."""
        names = self._db().execute(f'SELECT DISTINCT "{field}" FROM ({_view(table, "1")})')
        return any(isinstance(name, str) and name.lower() == value for (name,) in names)

    def highest(self, table: str) -> str | None:
        """The greatest id as text, None where the table is empty. Raises TypeError where an id is no text."""
        highest, count, odd = self._db().execute(_HIGHEST[table]).fetchone()
        if count and odd:
            raise TypeError("'>=' not supported between instances of 'str' and 'int'")
        return highest if count else None

    def append(self, table: str, values: Row) -> None:
        """A new row behind the others."""
        self._changed.add(table)
        if table != EVENTS:
            self._db().execute(f"UPDATE main.{table} SET gone = 2 WHERE gone = 1")
        (last,) = self._db().execute(f"SELECT max(position) FROM main.{table}").fetchone()
        position = max(_LAST, (last or 0) + 1)
        self._db().execute(_PUT[table], (position, *(_storable(values.get(c)) for c in COLUMNS[table])))
        self.writes += 1

    def update(self, table: str, key: Any, field: str, value: Any) -> bool:
        """Set a field of every row of that id; False where there is none."""
        found = self._matching(table, key)
        self._changed.add(table)
        place = COLUMNS[table].index(field) + 1
        for row in found:
            changed = [*row[:place], _storable(value), *row[place + 1 :]]
            self._db().execute(_PUT[table], changed)
        self.writes += bool(found)
        return bool(found)

    def delete(self, table: str, key: Any) -> bool:
        """Delete every row of that id; False where there is none."""
        found = self._matching(table, key)
        self._changed.add(table)
        for row in found:
            self._db().execute(_PUT[table], row)
            self._db().execute(f"UPDATE main.{table} SET gone = 1 WHERE position = ?", row[:1])
        self.writes += bool(found)
        return bool(found)

    def of_world(self, table: str, position: int) -> tuple[Any, ...]:
        """The values of a row of the world, as they were before the session."""
        found: tuple[Any, ...] = (
            self._db().execute(f"SELECT {_NAMES[table]} FROM base.{table} WHERE position = ?", (position,)).fetchone()
        )
        return found

    def overlay(self, table: str) -> list[tuple[int, int, tuple[Any, ...]]]:
        """What the session touched, in order: (position, gone, values). New rows have positions `is_new` knows."""
        if table not in self._changed:
            return []
        found = self._db().execute(f"SELECT position, gone, {_NAMES[table]} FROM main.{table} ORDER BY position")
        return [(position, gone, tuple(values)) for position, gone, *values in found]

    def _matching(self, table: str, key: Any) -> list[tuple[Any, ...]]:
        return self._db().execute(_ONE[table], (key,)).fetchall() if isinstance(key, str) else []


def is_new(position: int) -> bool:
    """True for a row that the session created."""
    return position >= _LAST


def _row(table: str, values: Any) -> Row:
    return dict(zip(COLUMNS[table], values, strict=True))


def _storable(value: Any) -> Any:
    """What SQLite can hold: a list, an object, a huge number as bytes, which no verdict takes for text."""
    if value is None or isinstance(value, str | float):
        return value
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return int(value)
    return msgspec.json.encode(str(value))
