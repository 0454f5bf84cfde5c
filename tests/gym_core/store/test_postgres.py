"""What only PostgreSQL does: addresses without secrets, servers that hang up, folders that the database remembers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from store_samples import ROOT, make_rollout

from gym_core.contracts import Outcome, Rollout, Verdict
from gym_core.errors import BadRequest, Unavailable, UnknownName
from gym_core.store import Run, Store, StoreFault, engine
from gym_core.store.dialect import KeepFirst

pytestmark = [pytest.mark.postgres, pytest.mark.usefixtures("postgres")]


def connect(address: str, **options: Any) -> Any:
    """A connection that is not the store's."""
    import psycopg

    return psycopg.connect(address.partition("&blobs=")[0], **options)


def rollout(name: str) -> Rollout:
    return Rollout(rollout_id=name, environment="e", task_id="t", outcome=Outcome.SCORED)


def hang_up(address: str) -> int:
    """End every connection of ours but this one, as a server does that is started anew."""
    with connect(address, autocommit=True) as connection:
        ended = connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'palaestra'"
        ).fetchall()
    return len(ended)


async def test_a_server_that_hung_up_is_met_again_and_nothing_is_lost(postgres: str, schema: str) -> None:
    async with await Store.open(schema) as store:
        await store.put_rollout(rollout("before"), b"a")
        assert await store.count_rollouts() == 1
        assert hang_up(postgres) >= 2
        assert await store.count_rollouts() == 1
        assert hang_up(postgres) >= 1
        await asyncio.gather(*(store.put_rollout(rollout(f"r{n}"), b"b") for n in range(5)))
        assert await store.count_rollouts() == 6


async def test_a_change_is_not_made_twice_when_the_server_hangs_up(postgres: str, schema: str) -> None:
    async with await Store.open(schema) as store:
        await store.put_metrics("run", 0, {"loss": 1.0})
        hang_up(postgres)
        with pytest.raises(StoreFault, match="postgresql://") as caught:
            await store.put_metrics("run", 1, {"loss": 2.0})
        assert caught.value.retryable
        await store.put_metrics("run", 1, {"loss": 2.0})
        assert [step for step, _ in await store.metrics("run")] == [0, 1]


async def test_a_lock_that_another_writer_keeps_is_a_typed_error(
    postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gym_core.store.postgres import LOCK

    await (await Store.open(schema)).close()
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 20.0)
    opening = await Store.open(schema)
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.02)
    async with opening, await Store.open(schema) as store:
        with connect(postgres) as other:
            other.execute(f"SELECT pg_advisory_xact_lock({LOCK})")
            with pytest.raises(StoreFault, match="kept the database locked"):
                await store.put_rollout(rollout("r1"), b"a")
            assert await store.count_rollouts() == 0, "readers do not wait for writers"
            patient = asyncio.create_task(opening.put_rollout(rollout("r2"), b"b"))
            await asyncio.sleep(0)  # it queues
        await patient
        assert await store.count_rollouts() == 1


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("postgresql://palaestra:hidden@127.0.0.1:9/db", Unavailable, "127.0.0.1:9"),
        ("postgresql://user@[::1", BadRequest, "no PostgreSQL address"),
        ("postgresql+asyncpg://user@host/db", BadRequest, "cannot store in"),
    ],
)
async def test_addresses_that_lead_nowhere(address: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        await Store.open(address)
    assert "hidden" not in str(caught.value.info())  # type: ignore[attr-defined]


async def test_a_missing_database_says_how_to_make_it(postgres: str) -> None:
    with pytest.raises(UnknownName, match='"nobody" does not exist') as caught:
        await Store.open(postgres.replace("/postgres?", "/nobody?"))
    assert "createdb" in caught.value.hint


async def test_an_empty_database_is_no_store_unless_one_may_be_made(schema: str) -> None:
    with pytest.raises(UnknownName, match="there is no store in postgresql://"):
        await Store.open(schema, create=False)
    await (await Store.open(schema)).close()
    await (await Store.open(schema, create=False)).close()


async def test_a_database_of_another_program_is_left_alone(postgres: str, schema: str) -> None:
    with connect(schema, autocommit=True) as connection:
        connection.execute("CREATE TABLE theirs (x int)")
        with pytest.raises(BadRequest, match="database of another program"):
            await Store.open(schema)
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
    assert tables == [("theirs",)]


async def test_the_database_remembers_where_its_segments_are(
    schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = schema.partition("&blobs=")[0]
    monkeypatch.setenv("PALAESTRA_BLOBS", str(tmp_path / "first"))
    async with await Store.open(bare) as store:
        await store.put_rollout(rollout("r1"), b"abc")
        assert store.blobs == tmp_path / "first"
    monkeypatch.setenv("PALAESTRA_BLOBS", str(tmp_path / "elsewhere"))
    async with await Store.open(bare) as store:
        assert await store.get_rollout("r1") == (rollout("r1"), b"abc") or store.blobs == tmp_path / "first"
    (tmp_path / "first").rename(tmp_path / "mounted")
    async with await Store.open(f"{bare}&blobs={tmp_path}/mounted") as store:
        found = await store.get_rollout("r1")
        assert found is not None and found[1] == b"abc"


async def test_a_database_without_a_folder_gets_one_of_its_own(
    schema: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PALAESTRA_BLOBS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    async with await Store.open(schema.partition("&blobs=")[0]) as store:
        assert store.blobs.parent == tmp_path / "palaestra" / "blobs"
        assert store.blobs.name.startswith("postgres-")


async def test_the_password_comes_from_a_secret_and_is_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from gym_core.store.address import read_address

    monkeypatch.setenv("PALAESTRA_STORE_PASSWORD", "hidden")
    address = read_address("postgres://me@db.example:5433/gym?sslmode=require")
    assert address.url.password == "hidden"
    assert address.url.query == {"sslmode": "require"}
    assert address.name == "postgresql://me:***@db.example:5433/gym?sslmode=require"
    assert read_address("postgresql://me:own@db/gym").url.password == "own"


async def test_names_longer_than_a_column_once_was_are_kept(schema: str) -> None:
    long = "r" * 3000
    async with await Store.open(schema) as store:
        await store.put_rollout(Rollout(rollout_id="r1", environment=long, task_id=long, outcome=Outcome.SCORED))
        found = await store.get_rollout("r1")
    assert found is not None and found[0].environment == found[0].task_id == long


async def test_commits_come_in_the_order_of_their_numbers(postgres: str, schema: str) -> None:
    """A reader that pages by `seq` while others write must never pass by a row that commits late."""
    async with await Store.open(schema) as one, await Store.open(schema) as two:
        writes = asyncio.gather(
            *(store.put_rollout(rollout(f"{w}-{n}"), b"x") for n in range(150) for w, store in (("a", one), ("b", two)))
        )
        seen: list[str] = []
        last = 0
        while len(seen) < 300:
            from sqlalchemy import text

            def page(connection: object, after: int = last) -> list[tuple[int, str]]:
                query = text("SELECT seq, rollout_id FROM rollouts WHERE seq > :after ORDER BY seq")
                return [tuple(row) for row in connection.execute(query, {"after": after})]  # type: ignore[attr-defined]

            for last, name in await one._reading.ask(page):  # noqa: B007
                seen.append(name)
            if writes.done():
                writes.result()
        await writes
    assert len(set(seen)) == 300


async def test_the_training_board_asks_what_the_tables_can_answer(schema: str) -> None:
    """Every query of the board in `compose/grafana/`, its variable too, over a run that has trained and was judged."""
    board = json.loads((ROOT / "compose/grafana/dashboards/training.json").read_text())
    (variable,) = board["templating"]["list"]
    said = [{"type": "message", "text": 'a NUL \0, half a pair \\ud800 and "labels":{"purpose":"eval"}'}]
    async with await Store.open(schema) as store:
        await store.create_run(Run(run_id="it's", kind="train"))
        for number, purpose in enumerate(("train", "train", "eval-before")):
            verdict = Verdict(reward=0.25 + number / 2)
            labels = {"purpose": purpose, "arm": "a"}
            await store.put_rollout(
                make_rollout(f"r{number}", run_id="it's", step=number, verdict=verdict, labels=labels, output=said)
            )
    with connect(schema) as connection:
        assert connection.execute(variable["query"]).fetchall() == [("it's",)]
        answers = {}
        for panel in board["panels"]:
            for target in panel["targets"]:
                answers[panel["title"]] = connection.execute(target["rawSql"].replace("$run", "it''s")).fetchall()
    assert answers["Reward by step"] == [(0, 0.25), (1, 0.75)]
    assert [row[2] for row in answers["Reward by environment"]] == [0.25, 0.5]
    assert answers["Outcomes"] == [("maths", "scored", 3, 0.75)]
    assert answers["Held-out reward"] == [("eval-before", "maths", 1.25, 1)]
    assert answers["Runs"][0][:2] == ("it's", "train")
    assert len(answers) == len(board["panels"])


async def test_a_row_that_is_deleted_while_it_is_written_again_is_written_anew(
    postgres: str, schema: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody deletes in the server, without our lock, between our insert and our look at what it met."""
    deletions: list[int] = []
    run = KeepFirst.run

    def meddled(self: KeepFirst, connection: Any, rows: Any) -> int:
        new = run(self, connection, rows)
        if "rollout_id" in rows[0] and not deletions:
            with connect(schema, autocommit=True) as other:
                deletions.append(other.execute("DELETE FROM rollouts WHERE rollout_id = 'r'").rowcount)
        return new

    async with await Store.open(schema) as store:
        await store.put_rollout(rollout("r"), b"first")
        monkeypatch.setattr(KeepFirst, "run", meddled)
        assert await store.put_rollout(rollout("r"), b"second") is True
        assert deletions == [1]
        kept = await store.get_rollout("r")
        assert kept is not None and kept[1] == b"second"
