"""`INSERT … ON CONFLICT`: one wording, two dialects, of which a process loads the one that it speaks."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect

_COUNTED = {"preserve_rowcount": True}


def insert_into(connection: Connection, table: Any) -> Any:
    """An insert of this connection's dialect, which has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return _insert(connection.dialect.name)(table)


class KeepFirst:
    """An insert that leaves a row alone which has this key already; compiled once, for rows that have all of `columns`.

    What runs is the driver's own statement: SQLAlchemy's way through each execution costs more than SQLite's work.
    """

    def __init__(self, dialect: Dialect, table: Any, key: str, columns: Sequence[str]) -> None:
        statement = _insert(dialect.name)(table).on_conflict_do_nothing(index_elements=[key])
        compiled = statement.compile(dialect=dialect, column_keys=list(columns))
        self._sql = str(compiled)
        self._order = compiled.positiontup
        """Names of the values in order, where the driver takes them so and not by name."""

    def run(self, connection: Connection, rows: Sequence[dict[str, Any]]) -> int:
        """Insert them; how many were new."""
        return connection.exec_driver_sql(self._sql, self._values(rows), _COUNTED).rowcount

    def run_plain(self, driver: sqlite3.Connection, rows: Sequence[dict[str, Any]]) -> int:
        """The same on SQLite's own connection."""
        return driver.executemany(self._sql, self._values(rows)).rowcount

    def _values(self, rows: Sequence[dict[str, Any]]) -> list[Any]:
        order = self._order
        return list(rows) if order is None else [tuple(map(row.__getitem__, order)) for row in rows]


def _insert(dialect: str) -> Callable[[Any], Any]:
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert

        return insert
    assert dialect == "postgresql", dialect
    from sqlalchemy.dialects.postgresql import insert as insert_postgresql

    return insert_postgresql
