"""The SQLAlchemy models and the plain SQL that the service runs make the same tables."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import MetaData, create_engine, insert, select
from sqlalchemy.pool import StaticPool

from environments.workplace.models import BASE, OVERLAY
from environments.workplace.tables import COLUMNS, base_schema, overlay_schema

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(("models", "statements"), [(BASE, base_schema()), (OVERLAY, overlay_schema())])
def test_models_and_statements_make_the_same_tables(models: MetaData, statements: list[str]) -> None:
    with closing(sqlite3.connect(":memory:")) as ours, closing(sqlite3.connect(":memory:")) as theirs:
        for statement in statements:
            ours.execute(statement)
        models.create_all(create_engine("sqlite://", creator=lambda: theirs, poolclass=StaticPool))
        assert _schema(ours) == _schema(theirs)
        assert len(_schema(ours)) == len(models.tables)


def test_a_value_keeps_its_type_through_the_models() -> None:
    engine = create_engine("sqlite://", poolclass=StaticPool)
    BASE.create_all(engine)
    table = BASE.tables["events"]
    values = dict(zip(COLUMNS["events"], ("1", 2, 3.5, None, "30"), strict=True))
    with engine.begin() as connection:
        connection.execute(insert(table), [{"position": 0, **values}])
        assert tuple(connection.execute(select(table)).one()) == (0, "1", 2, 3.5, None, "30")
    engine.dispose()


def test_the_service_does_not_load_sqlalchemy() -> None:
    code = "import sys, environments.workplace.environment as e; e.Workplace(); assert 'sqlalchemy' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def _schema(database: sqlite3.Connection) -> dict[str, Any]:
    """Columns (name, type, not null, default, key) and indexed columns of every table."""
    names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {name: (_columns(database, name), _indexed(database, name)) for name in names}


def _columns(database: sqlite3.Connection, table: str) -> list[Any]:
    return [row[1:] for row in database.execute(f"PRAGMA table_info({table})")]


def _indexed(database: sqlite3.Connection, table: str) -> list[Any]:
    indexes = [row[1] for row in database.execute(f"PRAGMA index_list({table})")]
    return sorted((index, [row[2] for row in database.execute(f"PRAGMA index_info({index})")]) for index in indexes)
