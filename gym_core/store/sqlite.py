"""SQLite in WAL mode: readers never wait for the writer, several processes may write in turn, and kill -9 loses nothing
that was committed. `synchronous=FULL` also survives a power cut, for about 0.1 ms a rollout."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import URL, Connection, Engine, create_engine, event

from gym_core.errors import BadRequest

Synchronous = Literal["normal", "full"]


def make_engine(url: URL, synchronous: Synchronous, busy_timeout_s: float, writes: bool) -> Engine:
    """An engine whose transactions begin with the write lock, or one that sees what is committed at each statement."""
    options: dict[str, Any] = {"connect_args": {"timeout": busy_timeout_s, "check_same_thread": False}}
    if not writes:
        options["isolation_level"] = "AUTOCOMMIT"
    engine = create_engine(url, **options)

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


@contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Processes open a database in turn: SQLite does not wait for others when it switches a new file to WAL."""
    try:
        file = path.with_name(path.name + ".lock").open("a")
    except OSError as error:
        raise BadRequest(f"cannot write in {path.parent}: {error.strerror}", field="store") from None
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
