"""Brings a database to the revision this code knows; inside a transaction that holds the write lock, so only once.

    empty ─▶ the tables of the models, stamped        older ─▶ Alembic, revision by revision

Both ways end in the same tables, a test compares them. Alembic is 9 MB, and most stores never need it.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Column, Connection, MetaData, String, Table, insert, inspect, text

from gym_core.errors import BadRequest, Conflict, UnknownName
from gym_core.store.models import Base

REVISION = "0002"
"""The newest migration; a test holds it equal to the head of `migrations`."""

_VERSION = Table("alembic_version", MetaData(), Column("version_num", String(32), primary_key=True))
"""What Alembic itself keeps; a database that it finds stamped is one that it has made."""


def migrate(connection: Connection, name: str, create: bool) -> None:
    """Upgrade to `REVISION`. Alembic is loaded only where there are older tables.

    Raises `BadRequest` for another program's database, `Conflict` for a newer one of ours, `UnknownName` for an empty
    one where none must be made.
    """
    tables = set(inspect(connection).get_table_names())
    found = None
    if "alembic_version" in tables:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    elif tables:
        raise BadRequest(f"{name} is the database of another program", field="store", hint="choose another one")
    elif not create:
        raise UnknownName(f"there is no store in {name}", field="store")
    if found == REVISION:
        return
    if not tables:
        _make(connection)
        return
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise Conflict(
            f"{name} was written by a newer version of Palaestra (its tables are at revision {found}, "
            f"this version knows up to {REVISION})",
            field="store",
            hint="update Palaestra, or choose another store",
        )
    from alembic import command

    command.upgrade(config, REVISION)


def _make(connection: Connection) -> None:
    """All tables at once, as the last revision leaves them."""
    Base.metadata.create_all(connection)
    _VERSION.create(connection)
    connection.execute(insert(_VERSION), {"version_num": REVISION})
