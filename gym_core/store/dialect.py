"""`INSERT … ON CONFLICT`: one wording, two dialects, of which a process loads the one that it speaks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

from sqlalchemy import Connection


def insert_into(connection: Connection, table: Any) -> Any:
    """An insert of this connection's dialect, which has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return _insert(connection.dialect.name)(table)


@cache
def keep_first(dialect: str, table: Any, key: str) -> Any:
    """An insert that leaves a row alone which has this key already; made once, it is compiled once."""
    return _insert(dialect)(table).on_conflict_do_nothing(index_elements=[key])


def _insert(dialect: str) -> Callable[[Any], Any]:
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert

        return insert
    assert dialect == "postgresql", dialect
    from sqlalchemy.dialects.postgresql import insert as insert_postgresql

    return insert_postgresql
