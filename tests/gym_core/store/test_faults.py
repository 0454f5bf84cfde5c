"""The store under kill -9, full disks, locks and second writers: what was acknowledged stays."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest
from store_samples import ROOT, ids, make_rollout, run_program

from gym_core.contracts import Rollout
from gym_core.store import Store, StoreFault, engine
from gym_core.store.dialect import KeepFirst

WRITES = """
    import asyncio, sys
    from gym_core.contracts import Outcome, Rollout
    from gym_core.store import Store

    async def put(store, writer, number):
        name = f"{writer}-{number}"
        blob = name.encode() * 200
        await store.put_rollout(Rollout(rollout_id=name, environment="e", task_id="t", outcome=Outcome.SCORED), blob)
        print(name, flush=True)

    async def main(path, writer, count):
        async with await Store.open(path) as store:
            for start in range(0, count, 4):
                await asyncio.gather(*(put(store, writer, number) for number in range(start, start + 4)))

    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def writing(path: str, writer: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(WRITES), path, writer, str(count)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


async def test_kill_9_loses_nothing_that_was_acknowledged(place: str) -> None:
    draw = random.Random(7)
    acknowledged: list[str] = []
    for attempt in range(4):
        with writing(place, f"w{attempt}", 1_000_000) as process:
            assert process.stdout is not None
            for _ in range(draw.randrange(1, 200)):
                acknowledged.append(process.stdout.readline().strip())
            process.kill()
            acknowledged += [line.strip() for line in process.stdout if line.endswith("\n")]
    async with await Store.open(place) as store:
        stored = {rollout.rollout_id: blob async for rollout, blob in store.iter_rollouts()}
        assert await store.count_rollouts() == len(stored), "none is doubled"
        assert set(acknowledged) <= set(stored)
        assert all(blob == name.encode() * 200 for name, blob in stored.items())
        await store.put_rollout(make_rollout("after"), b"goes on")
        assert await store.get_rollout("after") == (make_rollout("after"), b"goes on")


async def test_two_processes_may_write_the_same_store(tmp_path: Path, place: str) -> None:
    with writing(place, "a", 200) as first, writing(place, "b", 200) as second:
        assert [first.communicate(timeout=60)[0].count("\n"), first.returncode] == [200, 0]
        assert [second.communicate(timeout=60)[0].count("\n"), second.returncode] == [200, 0]
    async with await Store.open(place) as store:
        stored = {rollout.rollout_id: blob async for rollout, blob in store.iter_rollouts()}
    assert stored == {name: name.encode() * 200 for w in "ab" for name in (f"{w}-{n}" for n in range(200))}
    assert len(list((tmp_path / "store.db.blobs").iterdir())) == 2


async def test_a_lock_that_another_process_keeps_is_a_typed_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.02)
    async with await Store.open(tmp_path / "store.db") as store:
        await store.put_rollout(make_rollout("r1"), b"a")
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFault, match="kept the database locked"):
            await store.put_rollout(make_rollout("r2"), b"b")
        assert await store.get_rollout("r1") is not None, "readers do not wait for writers"
        other.execute("ROLLBACK")
        other.close()
        await store.put_rollout(make_rollout("r2"), b"b")
        assert await ids(store) == ["r1", "r2"]


def test_a_full_disk_is_a_typed_error_and_the_store_goes_on(tmp_path: Path) -> None:
    """RLIMIT_FSIZE makes writes past a size fail as a full disk does; here first the blobs', then the database's."""
    program = """
        import asyncio, resource, sys
        from gym_core.contracts import Outcome, Rollout
        from gym_core.store import Store, StoreFault

        def limit(size):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))

        def rollout(name, text=""):
            return Rollout(rollout_id=name, environment="e", task_id="t", outcome=Outcome.SCORED,
                           labels={"text": text})

        async def refused(put):
            try:
                await put
            except StoreFault as error:
                print(error.info().code, error.message)
            else:
                sys.exit("the write should have failed")

        async def main(path):
            async with await Store.open(path) as store:
                await store.put_rollout(rollout("before"), b"a" * 1000)
                limit(200_000)
                small = [store.put_rollout(rollout(f"small{n}"), b"s" * 10) for n in range(3)]
                big = refused(store.put_rollout(rollout("big blob"), b"b" * 300_000))
                await asyncio.gather(*small, big)
                await refused(store.put_rollout(rollout("big row", "x" * 300_000), b"c"))
                limit(resource.RLIM_INFINITY)
                await store.put_rollout(rollout("big blob"), b"b" * 300_000)
                await store.put_rollout(rollout("after", "x" * 300_000), b"d")
            async with await Store.open(path) as store:
                async for kept, blob in store.iter_rollouts():
                    print(kept.rollout_id, len(blob), blob[:1])

        asyncio.run(main(sys.argv[1]))
    """
    done = run_program(program, str(tmp_path / "store.db"))
    assert done.returncode == 0, done.stderr
    faults, kept = done.stdout.splitlines()[:2], done.stdout.splitlines()[2:]
    assert all(line.startswith("store_fault ") for line in faults)
    assert "File too large" in faults[0]
    assert sorted(kept) == [
        "after 1 b'd'",
        "before 1000 b'a'",
        "big blob 300000 b'b'",
        *(f"small{n} 10 b's'" for n in range(3)),
    ]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY, "only the child was limited"


@pytest.mark.postgres
async def test_segments_that_find_the_disk_full_are_a_typed_error_beside_a_server(schema: str) -> None:
    program = """
        import asyncio, resource, sys
        from gym_core.contracts import Outcome, Rollout
        from gym_core.store import Store, StoreFault

        def rollout(name):
            return Rollout(rollout_id=name, environment="e", task_id="t", outcome=Outcome.SCORED)

        async def main(place):
            async with await Store.open(place) as store:
                await store.put_rollout(rollout("before"), b"a" * 1000)
                resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
                small, big = await asyncio.gather(
                    store.put_rollout(rollout("small"), b"s"),
                    store.put_rollout(rollout("big"), b"b" * 3000),
                    return_exceptions=True,
                )
                print(small, type(big).__name__)
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                await store.put_rollout(rollout("big"), b"c" * 3000)
                print([(one.rollout_id, len(blob), blob[:1]) async for one, blob in store.iter_rollouts()])

        asyncio.run(main(sys.argv[1]))
    """
    done = run_program(program, schema)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "True StoreFault",
        "[('before', 1000, b'a'), ('small', 1, b's'), ('big', 3000, b'c')]",
    ]


async def test_a_row_that_was_changed_from_outside_is_named(store: Store) -> None:
    await store.put_rollout(make_rollout())
    await store._change(lambda connection: connection.exec_driver_sql("UPDATE rollouts SET record = '{'"))
    with pytest.raises(StoreFault, match="row 1 cannot be read"):
        await store.get_rollout("r1")


async def test_full_synchronous_is_what_sqlite_is_told(tmp_path: Path) -> None:
    for wanted, level in (("normal", 1), ("full", 2)):
        async with await Store.open(tmp_path / f"{wanted}.db", synchronous=wanted) as store:  # type: ignore[arg-type]
            with store._engines.write.connect() as connection:
                assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == level
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            await store.put_rollout(make_rollout(), b"x")


async def test_one_store_serves_several_loops(place: str) -> None:
    store = await Store.open(place)
    await asyncio.to_thread(asyncio.run, store.put_rollout(make_rollout("other loop"), b"x"))
    await store.put_rollout(make_rollout("this loop"), b"y")
    assert await asyncio.to_thread(asyncio.run, ids(store)) == ["other loop", "this loop"]
    await store.close()


async def test_the_record_is_json_that_others_can_query(tmp_path: Path) -> None:
    async with await Store.open(tmp_path / "store.db") as store:
        await store.put_rollout(make_rollout())
    with sqlite3.connect(store.path) as connection:
        found = connection.execute("SELECT json_extract(record, '$.verdict.reward'), reward FROM rollouts").fetchone()
        record = connection.execute("SELECT record FROM rollouts").fetchone()[0]
    connection.close()
    assert found == (0.5, 0.5)
    assert msgspec.json.decode(record, type=Rollout) == make_rollout()
    assert os.path.exists(store.path)


async def test_a_row_that_vanishes_each_time_it_is_written_is_told_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await Store.open(tmp_path / "s.db") as store:
        await store.put_rollout(make_rollout("r0"), b"0")
        run = KeepFirst.run
        monkeypatch.setattr(KeepFirst, "run", lambda self, connection, rows: 0)
        monkeypatch.setattr(KeepFirst, "run_plain", lambda self, driver, rows: 0)
        with pytest.raises(StoreFault, match="is deleted as often as it is written") as caught:
            await store.put_rollout(make_rollout("r1"), b"1")
        assert "who deletes rows" in caught.value.hint and "KeyError" not in str(caught.value)
        monkeypatch.setattr(KeepFirst, "run", run)
        assert await store.put_rollout(make_rollout("r1"), b"1") is True
        assert await ids(store) == ["r0", "r1"]
