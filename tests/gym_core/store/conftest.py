"""A store of each kind: a file, and a schema of its own in a PostgreSQL server that these tests start."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from gym_core.store import Store

sys.path.insert(0, str(Path(__file__).parent))  # store_samples

SERVER_USERS = ("postgres", "nobody")
SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "16MB",
    "max_connections": "60",
    "listen_addresses": "",
}


def _binaries() -> Path | None:
    """The folder with `initdb` and `postgres`: on the path, or where Debian keeps them."""
    found = shutil.which("initdb")
    if found and shutil.which("postgres"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders and (folders[-1] / "initdb").exists() else None


def _owner() -> dict[str, Any]:
    """The server refuses to run as root."""
    if os.getuid() != 0:
        return {}
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    entry = next(known[name] for name in SERVER_USERS if name in known)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a database in a server of this session, reached through a socket in a folder of its own."""
    binaries = _binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed here (apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="pip install 'palaestra[postgres]'")
    owner = _owner()
    folder = Path(tempfile.mkdtemp(prefix="palaestra-pg-"))
    if owner:
        os.chown(folder, owner["user"], owner["group"])
    data = folder / "data"
    options = {"cwd": folder, "env": {"PATH": os.environ["PATH"], "LC_ALL": "C", "HOME": str(folder)}, **owner}
    try:
        made = subprocess.run(
            [binaries / "initdb", "-D", data, "-A", "trust", "-U", "palaestra", "-N", "-E", "UTF8"],
            capture_output=True, text=True, timeout=120, check=False, **options,
        )  # fmt: skip
        assert made.returncode == 0, made.stderr
        settings = " ".join(f"-c {name}='{value}'" for name, value in SETTINGS.items())
        control = [binaries / "pg_ctl", "-D", data, "-w", "-t", "60"]
        log = folder / "log"
        started = subprocess.run(
            [*control, "-l", log, "-o", f"-k {folder} {settings}", "start"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=90, check=False, **options,
        )  # fmt: skip
        assert started.returncode == 0, log.read_text()
        try:
            yield f"postgresql://palaestra@/postgres?host={quote(str(folder))}"
        finally:
            subprocess.run(
                [*control, "-m", "immediate", "stop"], capture_output=True, timeout=90, check=False, **options
            )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def schema(postgres: str, tmp_path: Path) -> str:
    """The address of an empty schema, its segments under `tmp_path`."""
    import psycopg

    name = f"t{uuid.uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}")
    return f"{postgres}&options={quote(f'-c search_path={name}')}&blobs={quote(str(tmp_path / 'store.db.blobs'))}"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be made: each test runs over both."""
    return str(tmp_path / "store.db") if request.param == "sqlite" else request.getfixturevalue("schema")


@pytest.fixture
async def store(place: str) -> AsyncIterator[Store]:
    async with await Store.open(place) as opened:
        yield opened
