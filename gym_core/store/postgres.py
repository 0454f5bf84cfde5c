"""PostgreSQL: the same order of commits as SQLite, from any number of agent servers.

Each writing transaction begins with one advisory lock of the database, as SQLite's does with its write lock: `seq` then
rises in the order of commits, so a reader that pages by it misses nobody who was slow to commit, and migrations happen
once. Batches make the wait for each other cheap.
"""

from __future__ import annotations

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from gym_core.errors import BadRequest, PalaestraError, Unavailable, UnknownName

LOCK = 0x70616C61657374  # one number per program, in the database's own space of advisory locks
CONNECT_TIMEOUT_S = 10


def make_engine(url: URL, synchronous: str, busy_timeout_s: float, writes: bool) -> Engine:
    """As `sqlite.make_engine`; `synchronous` is left to the server, which loses no commit unless it was told to.

    Raises `BadRequest` where the driver is not installed.
    """
    # A server that has gone is noticed within about 25 s also in the middle of a statement.
    arguments = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "palaestra",
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 25_000,
    }
    try:
        engine = create_engine(url, connect_args=arguments, **({} if writes else {"isolation_level": "AUTOCOMMIT"}))
    except ModuleNotFoundError:
        raise BadRequest(
            "a store in PostgreSQL needs psycopg", field="store", hint="pip install 'palaestra[postgres]'"
        ) from None

    if writes:
        wait = f"SET LOCAL lock_timeout = {max(1, round(1000 * busy_timeout_s))}"

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            connection.exec_driver_sql(f"{wait}; SELECT pg_advisory_xact_lock({LOCK})")

    return engine


def refusal(error: OperationalError, name: str) -> PalaestraError:
    """Why the server could not be reached, and the way out."""
    said = str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else "no connection"
    if "database" in said and "does not exist" in said:
        return UnknownName(f"{name}: {said}", field="store", hint="make it first: createdb NAME")
    if "authentication" in said or "password" in said or ("role" in said and "does not exist" in said):
        return BadRequest(
            f"{name}: {said}", field="store", hint="set PALAESTRA_STORE_PASSWORD, or name another user in the address"
        )
    return Unavailable(f"{name}: {said}", field="store", stage="store", hint="see whether the server is up")
