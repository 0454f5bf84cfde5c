"""Where a store is: a file, or a database of a PostgreSQL server.

    runs/store.db, sqlite:///runs/store.db          token segments in runs/store.db.blobs/
    postgresql://user@host/db                       token segments where the database says (`settings.py`)
    postgresql://user@host/db?blobs=/mnt/tokens     token segments there, a folder that several machines may mount

A password need not stand in an address, where process lists show it: `PALAESTRA_STORE_PASSWORD` or `store_password` in
the secrets file is used where the address has none, then whatever libpq finds (`~/.pgpass`, `PGPASSWORD`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from gym_core import auth
from gym_core.errors import BadRequest

SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")


@dataclass(slots=True, frozen=True)
class Address:
    """A place to keep a store. `path` is None for a server, `blobs` None where the database has to say; `name` is for
    messages and has no password."""

    url: URL
    name: str
    path: Path | None = None
    blobs: Path | None = None


def read_address(path_or_url: str | Path) -> Address:
    """Raises `BadRequest` for an address that is neither a path, `sqlite:///` nor `postgresql://`."""
    given = str(path_or_url)
    scheme = given.partition("://")[0] if "://" in given else ""
    if scheme in SCHEMES:
        return _server(given)
    if scheme:
        if scheme.split("+")[0] != "sqlite":
            raise BadRequest(
                f"cannot store in {scheme}",
                field="store",
                hint="a store is a path, sqlite:///path, or postgresql://user@host/database",
            )
        given = given.partition("://")[2].removeprefix("/")
    if given in ("", ":memory:"):
        raise BadRequest("a store needs a file", field="store", hint="give a path such as runs/store.db")
    path = Path(given)
    return Address(URL.create("sqlite", database=str(path)), str(path), path, path.with_name(path.name + ".blobs"))


def _server(given: str) -> Address:
    try:
        url = make_url(given).set(drivername="postgresql+psycopg")
    except (ArgumentError, ValueError):
        raise BadRequest(
            "that is no PostgreSQL address", field="store", hint="write postgresql://user@host:5432/database"
        ) from None
    blobs = url.query.get("blobs", "")
    if not isinstance(blobs, str):
        raise BadRequest("an address names `blobs` once", field="store")
    url = url.difference_update_query(["blobs"])
    if url.password is None and (password := auth.secret("store_password")) is not None:
        url = url.set(password=password)
    name = url.set(drivername="postgresql").render_as_string(hide_password=True)
    return Address(url, name, blobs=Path(blobs).absolute() if blobs else None)
