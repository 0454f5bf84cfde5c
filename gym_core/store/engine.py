"""Opens the database: one engine that writes, one that reads, its tables at the revision this code knows."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.exc import DatabaseError, OperationalError

from gym_core.errors import BadRequest, UnknownName
from gym_core.store import postgres, sqlite
from gym_core.store.address import Address, read_address
from gym_core.store.fault import fault_of
from gym_core.store.migrate import REVISION, migrate
from gym_core.store.settings import blobs_of
from gym_core.store.sqlite import Synchronous

__all__ = ["BUSY_TIMEOUT_S", "REVISION", "Engines", "Synchronous", "open_engines"]

BUSY_TIMEOUT_S = 10.0
"""How long a write waits for another process' write."""


@dataclass(slots=True, frozen=True)
class Engines:
    """`write` begins every transaction with the write lock; `read` sees what is committed at each statement.

    `name` stands in messages and has no password; `blobs` is the folder of the token segments; `path` is None where
    the database is a server's.
    """

    write: Engine
    read: Engine
    name: str
    blobs: Path
    path: Path | None

    def dispose(self) -> None:
        self.write.dispose()
        self.read.dispose()


def open_engines(path_or_url: str | Path, create: bool = True, synchronous: Synchronous = "normal") -> Engines:
    """Open and bring the tables up to date.

    Raises `UnknownName` when the store is missing and must not be made, `Conflict` when it was written by a newer
    version, `BadRequest` when it is not ours, `Unavailable` when nobody answers, `StoreFault` when the disk refuses.
    """
    address = read_address(path_or_url)
    if address.path is not None:
        _make_room(address.path, create)
    kind = postgres if address.path is None else sqlite
    write, read = (kind.make_engine(address.url, synchronous, BUSY_TIMEOUT_S, writes) for writes in (True, False))
    try:
        blobs = _prepare(write, address, create)
    except BaseException:
        write.dispose()
        read.dispose()
        raise
    return Engines(write, read, address.name, blobs, address.path)


def _make_room(path: Path, create: bool) -> None:
    if not create and not path.exists():
        raise UnknownName(f"there is no store at {path}", field="store")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadRequest(f"cannot make the folder {path.parent}: {error.strerror}", field="store") from None


def _prepare(write: Engine, address: Address, create: bool) -> Path:
    """Tables as they should be, under the write lock; the folder of the token segments."""
    try:
        with ExitStack() as stack:
            if address.path is not None:
                stack.enter_context(sqlite.one_at_a_time(address.path))
            connection = stack.enter_context(write.begin())
            migrate(connection, address.name, create or address.path is not None)
            return blobs_of(connection, address)
    except OperationalError as error:
        if address.path is None and error.connection_invalidated is False and _never_connected(error):
            raise postgres.refusal(error, address.name) from None
        raise fault_of(error, address.name) from None
    except DatabaseError as error:
        if address.path is None:
            raise fault_of(error, address.name) from None
        raise BadRequest(
            f"{address.name} is not an SQLite database", field="store", hint="choose another path"
        ) from None


def _never_connected(error: OperationalError) -> bool:
    return error.statement is None
