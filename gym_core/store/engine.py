"""Opens the database: one engine that writes, one that reads, its tables at the revision this code knows.

SQLite in WAL mode: readers never wait for the writer, several processes may write in turn, and kill -9 loses nothing
that was committed. `synchronous=FULL` also survives a power cut, for about 0.1 ms a rollout.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.exc import DatabaseError, OperationalError

from gym_core.errors import BadRequest, Conflict, UnknownName
from gym_core.store.fault import fault_of

REVISION = "0001"
"""The newest migration; a test holds it equal to the head of `migrations`."""

BUSY_TIMEOUT_S = 10.0
"""How long a write waits for another process' write."""

Synchronous = Literal["normal", "full"]


@dataclass(slots=True, frozen=True)
class Engines:
    """`write` begins every transaction with the write lock; `read` sees what is committed at each statement."""

    write: Engine
    read: Engine
    path: Path

    @property
    def blobs(self) -> Path:
        """Folder of the token blobs."""
        return self.path.with_name(self.path.name + ".blobs")

    def dispose(self) -> None:
        self.write.dispose()
        self.read.dispose()


def database_path(path_or_url: str | Path) -> Path:
    """The file behind a path or a `sqlite:///` URL. Raises `BadRequest` for any other URL."""
    given = str(path_or_url)
    if "://" in given:
        scheme, _, rest = given.partition("://")
        if scheme.split("+")[0] != "sqlite":
            raise BadRequest(f"cannot store in {scheme}: this version keeps its store in SQLite", field="store")
        given = rest.removeprefix("/")
    if given in ("", ":memory:"):
        raise BadRequest("a store needs a file", field="store", hint="give a path such as runs/store.db")
    return Path(given)


def open_engines(path_or_url: str | Path, create: bool = True, synchronous: Synchronous = "normal") -> Engines:
    """Open and bring the tables up to date.

    Raises `UnknownName` when the file is missing and must not be made, `Conflict` when it was written by a newer
    version, `BadRequest` when it is not ours, `StoreFault` when the disk refuses.
    """
    path = database_path(path_or_url)
    if not create and not path.exists():
        raise UnknownName(f"there is no store at {path}", field="store")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(f"cannot make the folder {path.parent}: {error.strerror}", field="store") from None
    engines = Engines(_engine(path, synchronous, writes=True), _engine(path, synchronous, writes=False), path)
    try:
        with _one_at_a_time(path), engines.write.begin() as connection:
            _migrate(connection, path)
    except OperationalError as error:
        engines.dispose()
        raise fault_of(error, str(path)) from None
    except DatabaseError:
        engines.dispose()
        raise BadRequest(f"{path} is not an SQLite database", field="store", hint="choose another path") from None
    except BaseException:
        engines.dispose()
        raise
    return engines


@contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Processes open a database in turn: SQLite does not wait for others when it switches a new file to WAL."""
    try:
        file = path.with_name(path.name + ".lock").open("a")
    except OSError as error:
        raise BadRequest(f"cannot write in {path.parent}: {error.strerror}", field="store") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _engine(path: Path, synchronous: Synchronous, writes: bool) -> Engine:
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}}
    if not writes:
        options["isolation_level"] = "AUTOCOMMIT"
    engine = create_engine(f"sqlite:///{path}", **options)

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _: Any) -> None:
        connection.isolation_level = None  # no hidden BEGIN by the driver: ours takes the write lock at once
        if writes:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA synchronous={synchronous}")

    if writes:

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _migrate(connection: Connection, path: Path) -> None:
    """Upgrade to `REVISION`; under the write lock, so that two processes do not do it at once."""
    tables = set(inspect(connection).get_table_names())
    found = None
    if "alembic_version" in tables:
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    elif tables:
        raise BadRequest(f"{path} is the database of another program", field="store", hint="choose another path")
    if found == REVISION:
        return
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise Conflict(
            f"{path} was written by a newer version of Palaestra (its tables are at revision {found}, "
            f"this version knows up to {REVISION})",
            field="store",
            hint="update Palaestra, or choose another path",
        )
    from alembic import command

    command.upgrade(config, REVISION)
