"""The five databases as SQLAlchemy models, for programs that look at a world or a session with its tools.

The service itself makes the same tables from plain SQL (`tables.py`).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.types import UserDefinedType

from environments.workplace.tables import COLUMNS, KEY, MUTABLE


class Kept(UserDefinedType[Any]):
    """A value stored with the type it came with."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "BLOB"


BASE: Final = MetaData()
"""The world that sessions share and nobody writes to."""

OVERLAY: Final = MetaData()
"""What one session changed: changed rows whole, deleted rows as marks, new rows behind the last position."""

for _name, _columns in COLUMNS.items():
    Table(
        _name,
        BASE,
        Column("position", Integer, primary_key=True),
        *(Column(c, Kept, index=c == KEY.get(_name)) for c in _columns),
    )
for _name in MUTABLE:
    Table(
        _name,
        OVERLAY,
        Column("position", Integer, primary_key=True),
        Column("gone", Integer, nullable=False, default=0),
        *(Column(c, Kept) for c in COLUMNS[_name]),
    )
