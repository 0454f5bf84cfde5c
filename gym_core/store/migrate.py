"""Brings a database to the revision this code knows; inside a transaction that holds the write lock, so only once."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from gym_core.errors import BadRequest, Conflict, UnknownName

REVISION = "0002"
"""The newest migration; a test holds it equal to the head of `migrations`."""


def migrate(connection: Connection, name: str, create: bool) -> None:
    """Upgrade to `REVISION`. Alembic is loaded only where there is something to do.

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
