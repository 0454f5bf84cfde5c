"""Compacting and pruning: every blob can be read before, during and after, whatever is killed; room comes back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from gym_core.contracts import Outcome, Rollout
from gym_core.errors import BadRequest, Conflict
from gym_core.store import Played, Run, Store, StoreFault, compact
from gym_core.store.prune import choose

ROOT = Path(__file__).resolve().parents[3]


def rollout(name: str, run_id: str = "run") -> Rollout:
    return Rollout(rollout_id=name, environment="e", task_id="t", outcome=Outcome.SCORED, run_id=run_id)


def blob_of(name: str) -> bytes:
    return name.encode() * 100


async def fill(place: str, names: list[str], run_id: str = "run") -> None:
    """By a store that is closed again: its segment is nobody's."""
    async with await Store.open(place) as store:
        for name in names:
            await store.put_rollout(rollout(name, run_id), blob_of(name), {"responses_create_params": {"input": name}})


async def whole(store: Store) -> list[str]:
    """Ids of all rollouts, each with the right blob."""
    found = [(one.rollout_id, blob) async for one, blob in store.iter_rollouts()]
    assert all(blob == blob_of(name) for name, blob in found)
    return [name for name, _ in found]


def segments(store: Store, suffix: str) -> list[Path]:
    return sorted(store.blobs.glob(f"*{suffix}"))


async def test_segments_are_packed_and_all_is_as_before(store: Store, place: str) -> None:
    names = [f"r{n}" for n in range(40)]
    await fill(place, names[:20])
    await fill(place, names[20:])
    heard: list[tuple[int, int]] = []
    before = sum(path.stat().st_size for path in segments(store, ".tokens"))
    result = await store.compact(lambda done, total: heard.append((done, total)))
    assert (result.segments, result.blobs, result.deleted, result.in_use) == (2, 40, 2, 0)
    assert (result.bytes_before, result.damaged, result.missing) == (before, [], [])
    assert result.bytes_after == sum(path.stat().st_size for path in segments(store, ".packed")) < before / 2
    assert heard[-1] == (before, before)
    assert await whole(store) == names
    again = await store.compact()
    assert (again.segments, again.deleted, again.bytes_after) == (0, 0, result.bytes_after)


async def test_the_segment_of_a_living_writer_is_left_alone(store: Store, place: str) -> None:
    await fill(place, ["old"])
    await store.put_rollout(rollout("live"), blob_of("live"))
    result = await store.compact()
    assert (result.segments, result.in_use) == (1, 1)
    await store.put_rollout(rollout("later"), blob_of("later"))
    assert await whole(store) == ["old", "live", "later"]
    assert len(segments(store, ".tokens")) == 1


async def test_who_reads_meanwhile_misses_nothing(store: Store, place: str) -> None:
    names = [f"r{n}" for n in range(150)]
    await fill(place, names)
    reading = store.iter_rollouts()
    seen = [(await anext(reading))[0].rollout_id]
    await store.compact()
    async for one, blob in reading:
        assert blob == blob_of(one.rollout_id)
        seen.append(one.rollout_id)
    assert seen == names


async def test_a_place_that_changed_after_the_row_was_read_is_looked_up_again(store: Store, place: str) -> None:
    await fill(place, ["r1"])
    from gym_core.store.models import RolloutRow
    from gym_core.store.reading import WITH_ROW

    query = WITH_ROW.where(RolloutRow.rollout_id == "r1")
    stale = await store._reading.ask(lambda connection: connection.execute(query).one())
    await store.compact()
    found = await store._reading.ask(lambda connection: store._reading.open(connection, stale, True))
    assert found is not None and found.blob == blob_of("r1")
    await store.prune(["run"])
    assert await store._reading.ask(lambda connection: store._reading.open(connection, stale, True)) is None


async def test_damaged_blobs_stay_where_they_are_and_are_named(store: Store, place: str) -> None:
    await fill(place, ["a", "b", "c"])
    (segment,) = segments(store, ".tokens")
    data = bytearray(segment.read_bytes())
    data[150] ^= 1  # inside b
    segment.write_bytes(data)
    result = await store.compact()
    assert (result.blobs, result.deleted) == (2, 0)
    assert len(result.damaged) == 1 and f"{segment} at byte 100" in result.damaged[0]
    for name in "ac":
        assert await store.get_rollout(name) == (rollout(name), blob_of(name))
    with pytest.raises(StoreFault, match=segment.name):
        await store.get_rollout("b")


async def test_a_missing_segment_is_named_and_loses_nothing_else(store: Store, place: str) -> None:
    await fill(place, ["lost"])
    (segment,) = segments(store, ".tokens")
    segment.unlink()
    await fill(place, ["kept"])
    with pytest.raises(StoreFault, match=f"{segment.name} at byte 0"):
        await store.get_rollout("lost")
    assert (await store.compact()).missing == [segment.name]
    assert await store.get_rollout("kept") == (rollout("kept"), blob_of("kept"))
    assert [one.rollout_id async for one, _ in store.iter_rollouts(blobs=False)] == ["lost", "kept"]


async def test_tails_that_no_row_names_are_given_back(store: Store, place: str) -> None:
    await fill(place, ["r1"])
    (store.blobs / "1-dead.tokens").write_bytes(b"torn before its row was committed")
    (store.blobs / "notes.txt").write_text("not ours")
    result = await store.compact()
    assert result.deleted == 2
    assert await whole(store) == ["r1"]
    assert (store.blobs / "notes.txt").exists()


async def test_two_do_not_tidy_at_once(store: Store, place: str) -> None:
    await fill(place, ["r1"])
    with compact.maintaining(store.blobs), pytest.raises(Conflict, match="another process compacts"):
        await store.compact()
    assert (await store.compact()).segments == 1


KILLED_AT = ["after the bytes", "after the rows", "before anything"]


@pytest.mark.parametrize("moment", KILLED_AT)
async def test_kill_9_in_the_middle_of_compacting_loses_nothing(place: str, moment: str) -> None:
    names = [f"r{n}" for n in range(12)]
    await fill(place, names)
    program = """
        import asyncio, os, signal, sys
        from gym_core.store import Store, blobs, compact
        from pathlib import Path

        place, moment = sys.argv[1:]
        move, append, unlink = compact._move, blobs.BlobWriter.append, Path.unlink

        def die(*_):
            os.kill(os.getpid(), signal.SIGKILL)

        def append_then_die(self, data):
            append(self, data)
            die()

        if moment == "after the bytes":
            blobs.BlobWriter.append = append_then_die
        elif moment == "after the rows":
            Path.unlink = die
        else:
            compact._repack = die

        async def main():
            async with await Store.open(place) as store:
                await store.compact()

        asyncio.run(main())
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), place, moment], cwd=ROOT, timeout=60, check=False
    )
    assert done.returncode == -9
    async with await Store.open(place) as store:
        assert await whole(store) == names
        result = await store.compact()
        assert (result.damaged, result.missing) == ([], [])
        assert await whole(store) == names
        assert segments(store, ".tokens") == [] and len(segments(store, ".packed")) == 1


async def test_a_full_disk_while_compacting_is_a_typed_error_and_loses_nothing(
    store: Store, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(place, ["r1", "r2"])

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreFault, match="No space left"):
        await store.compact()
    monkeypatch.undo()
    assert await whole(store) == ["r1", "r2"]
    assert (await store.compact()).blobs == 2


async def test_pruned_runs_free_their_room_and_others_stay(store: Store, place: str) -> None:
    await store.create_run(Run(run_id="old", summary={"reward": 0.5}))
    await store.put_metrics("old", 0, {"loss": 1.0})
    await fill(place, [f"old{n}" for n in range(30)], "old")
    async with await Store.open(place) as both:  # a segment that holds some of each
        for name, run_id in (("mix1", "old"), ("mix2", "new")):
            await both.put_rollout(rollout(name, run_id), blob_of(name))
    await fill(place, ["new1"], "new")
    result = await store.prune(["old"])
    assert (result.runs, result.rollouts) == (["old"], 31)
    assert result.bytes_freed > 0
    assert await whole(store) == ["mix2", "new1"]
    kept = await store.run("old")
    assert kept is not None and kept.summary == {"reward": 0.5}
    assert await store.metrics("old") == [(0, {"loss": 1.0})]
    found = await store.get_stored("new1")
    assert found is not None and found.row is not None, "rows that are still needed stay"
    assert (await store.prune(["old"])).rollouts == 0
    await store.put_rollout(rollout("old0", "old"), blob_of("old0"))
    assert "old0" in await whole(store)


async def test_pruning_beside_a_writer_keeps_what_it_writes(store: Store, place: str) -> None:
    await fill(place, [f"old{n}" for n in range(50)], "old")
    writes = [asyncio.ensure_future(store.put_rollout(rollout(f"n{n}"), blob_of(f"n{n}"))) for n in range(50)]
    async with await Store.open(place) as other:
        await other.prune(["old"])
    await asyncio.gather(*writes)
    assert sorted(await whole(store)) == sorted(f"n{n}" for n in range(50))


def test_what_may_go_is_chosen_by_number_and_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gym_core.store.prune.time.time", lambda: 1000.0)
    runs = [
        Run(run_id="a", status="done", finished_at=100.0),
        Run(run_id="b", status="done", finished_at=600.0),
        Run(run_id="live", status="running"),
    ]
    played = [Played("a", 1, 1, 90), Played("b", 1, 1, 590), Played("live", 1, 1, 20), Played("loose", 1, 1, 300)]

    def chosen(**rules: Any) -> list[str]:
        return choose(runs, played, **{"keep_last": None, "older_than_s": None, **rules})

    assert chosen(keep_last=1) == ["a", "loose"]
    assert chosen(keep_last=0) == ["a", "loose", "b"]
    assert chosen(older_than_s=500.0) == ["a", "loose"]
    assert chosen(keep_last=3, older_than_s=500.0) == []
    assert chosen(keep_last=9) == []
    with pytest.raises(BadRequest, match="keep_last or older_than"):
        chosen()


async def test_a_reader_lets_go_of_segments_that_are_gone(store: Store, place: str) -> None:
    await fill(place, ["r1", "r2"])
    assert await whole(store) == ["r1", "r2"]
    await store.compact()
    assert await whole(store) == ["r1", "r2"]
    assert [name.endswith(".packed") for name in store._reading._blobs._files] == [True]
