"""`INSERT … ON CONFLICT`: one wording, two dialects."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite

INSERTS: dict[str, Any] = {"sqlite": sqlite.insert, "postgresql": postgresql.insert}


def insert_into(connection: Connection, table: Any) -> Any:
    """An insert of this connection's dialect, which has `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return INSERTS[connection.dialect.name](table)


def keep_first(table: Any, key: str) -> dict[str, Any]:
    """Inserts that leave a row alone which has this key already, by dialect; made once, they are compiled once."""
    return {name: insert(table).on_conflict_do_nothing(index_elements=[key]) for name, insert in INSERTS.items()}
