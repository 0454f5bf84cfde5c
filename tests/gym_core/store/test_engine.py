"""Opening a store: made, upgraded, refused; never damaged."""

from __future__ import annotations

import asyncio
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text
from store_samples import make_rollout, run_program

from gym_core.errors import BadRequest, Conflict, UnknownName
from gym_core.store import Store, engine
from gym_core.store.models import Base


async def test_a_missing_store_is_not_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="there is no store at"):
        await Store.open(tmp_path / "no" / "store.db", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["mysql+pymysql://host/db", ":memory:", "sqlite://", ""])
async def test_other_places_are_refused(given: str) -> None:
    with pytest.raises(BadRequest):
        await Store.open(given)


async def test_files_that_are_no_store_are_refused_and_left_alone(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be one" * 30)
    with pytest.raises(BadRequest, match="not an SQLite database"):
        await Store.open(text)
    foreign = tmp_path / "foreign.db"
    connection = sqlite3.connect(foreign)
    connection.execute("CREATE TABLE theirs (x)")
    connection.close()
    with pytest.raises(BadRequest, match="database of another program"):
        await Store.open(foreign)
    connection = sqlite3.connect(foreign)
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    connection.close()
    with pytest.raises(BadRequest, match="cannot make the folder"):
        await Store.open(text / "store.db")


async def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    await (await Store.open(path)).close()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(Conflict, match=r"newer version of Palaestra \(its tables are at revision 9999") as caught:
        await Store.open(path)
    assert "update Palaestra" in caught.value.hint


async def test_a_rollout_of_a_newer_contract_is_refused(store: Store) -> None:
    await store.put_rollout(make_rollout(contract_version=99))
    with pytest.raises(Conflict, match="newer version"):
        await store.get_rollout("r1")


async def test_an_empty_version_table_is_a_store_before_its_first_revision(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL)")
    connection.close()
    async with await Store.open(path) as store:
        await store.put_rollout(make_rollout())
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(engine.REVISION,)]
    connection.close()


async def test_a_store_of_the_first_revision_is_upgraded_and_keeps_what_it_has(tmp_path: Path) -> None:
    """The tables, a rollout and its tokens as version 0001 wrote them."""
    path = tmp_path / "store.db"
    blob = b"abc"
    (tmp_path / "store.db.blobs").mkdir()
    (tmp_path / "store.db.blobs" / "1-a.tokens").write_bytes(blob)
    with sqlite3.connect(path) as connection:
        connection.executescript((Path(__file__).with_name("revision_0001.sql")).read_text())
        columns = ("r1", "run", "maths", "t1", "", 0, "scored", 0.5, 12.5, msgspec.json.encode(make_rollout()).decode())
        values = (*columns, "1-a.tokens", 0, 3, zlib.crc32(blob))
        connection.execute(f"INSERT INTO rollouts VALUES (1, {', '.join('?' * len(values))})", values)
    connection.close()
    async with await Store.open(path) as store:
        assert await store.get_rollout("r1") == (make_rollout(), blob)
        await store.put_rollout(make_rollout("r2"), b"d", {"responses_create_params": {"input": "q"}})
        assert [one.row is None async for one in store.iter_stored()] == [True, False]


async def test_alembic_and_the_models_make_the_same_tables(place: str) -> None:
    """A new store is made at a stroke; one whose version table is empty goes through every revision."""
    made = await _tables(place)
    engines = engine.open_engines(place)
    with engines.write.begin() as connection:
        Base.metadata.drop_all(connection)
        connection.execute(text("DELETE FROM alembic_version"))
    engines.dispose()
    assert await _tables(place) == made
    assert made["alembic_version"][0][0][0] == "version_num"


async def _tables(place: str) -> dict[str, tuple[Any, ...]]:
    """Columns, key, indexes and unique constraints of every table; Alembic must see no difference to the models."""
    async with await Store.open(place) as store:
        with store._engines.read.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), Base.metadata) == []
            assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [(engine.REVISION,)]
            found = inspect(connection)
            return {
                table: (
                    [
                        (column["name"], str(column["type"]), column["nullable"], column["default"])
                        for column in found.get_columns(table)
                    ],
                    found.get_pk_constraint(table),
                    sorted(found.get_indexes(table), key=str),
                    sorted(found.get_unique_constraints(table), key=str),
                    connection.execute(text(_AUTOINCREMENT), {"table": table}).all()
                    if connection.dialect.name == "sqlite"
                    else None,
                )
                for table in found.get_table_names()
            }


_AUTOINCREMENT = "SELECT sql LIKE '%AUTOINCREMENT%' FROM sqlite_master WHERE name = :table"


def test_the_revision_in_the_code_is_the_newest() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(engine.__file__).parent / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [engine.REVISION]


async def test_making_a_store_and_opening_one_of_now_do_not_load_alembic(place: str) -> None:
    program = f"""
        import asyncio, sys
        from gym_core.store import Store
        asyncio.run(asyncio.wait_for(Store.open({place!r}), 30))
        sys.exit("alembic" in sys.modules)
    """
    assert [run_program(program).returncode for _ in range(2)] == [0, 0]


async def test_a_database_is_made_once_however_many_open_it_first(place: str) -> None:
    stores = await asyncio.gather(*(Store.open(place) for _ in range(8)))
    await asyncio.gather(*(store.put_rollout(make_rollout(f"r{n}"), b"x") for n, store in enumerate(stores)))
    assert await stores[0].count_rollouts() == 8
    await asyncio.gather(*(store.close() for store in stores))
