"""Many ids in one query: each finds its own rollout, its own absence or its own damage."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import event

from gym_core.contracts import Outcome, Rollout, Verdict
from gym_core.store import Store, StoreFault
from gym_core.store.lookup import MOST


def made(name: str) -> Rollout:
    return Rollout(
        rollout_id=name, environment="e", task_id="t", outcome=Outcome.SCORED, run_id="r", verdict=Verdict(reward=1.0)
    )


async def filled(path: Path, count: int) -> Store:
    store = await Store.open(path)
    await asyncio.gather(*(store.put_rollout(made(f"r{n}"), f"tokens {n}".encode()) for n in range(count)))
    return store


async def test_a_turns_look_ups_are_one_query(tmp_path: Path) -> None:
    async with await filled(tmp_path / "s.db", 20) as store:
        await store.get_rollout("r0")  # the connection is open
        asked: list[str] = []
        event.listen(store._engines.read, "before_cursor_execute", lambda *given: asked.append(given[2]))
        found = await asyncio.gather(*(store.get_rollout(f"r{n}") for n in range(25)))
        assert len(asked) == 1
    for number, one in enumerate(found):
        if number < 20:
            assert one is not None and (one[0].rollout_id, one[1]) == (f"r{number}", f"tokens {number}".encode())
        else:
            assert one is None


async def test_a_crowd_is_asked_for_in_several(tmp_path: Path) -> None:
    async with await filled(tmp_path / "s.db", 3) as store:
        names = [f"r{n}" for n in range(2 * MOST + 1)]
        found = await asyncio.gather(*(store.get_rollout(name) for name in names))
    assert [one is not None for one in found] == [n < 3 for n in range(len(names))]


async def test_two_who_ask_for_the_same_both_get_it_and_one_may_leave(tmp_path: Path) -> None:
    async with await filled(tmp_path / "s.db", 1) as store:
        leaving, staying = (asyncio.create_task(store.get_rollout("r0")) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        found = await staying
    assert found is not None and found[0].rollout_id == "r0"


async def test_damage_to_one_is_told_of_it_alone(tmp_path: Path) -> None:
    async with await filled(tmp_path / "s.db", 3) as store:
        (segment,) = store.blobs.glob("*")
        data = bytearray(segment.read_bytes())
        at = data.index(b"tokens 1")
        data[at : at + 8] = b"tokens 9"
        segment.write_bytes(data)
        found = await asyncio.gather(*(store.get_rollout(f"r{n}") for n in range(3)), return_exceptions=True)
    assert isinstance(found[1], StoreFault)
    assert [isinstance(one, tuple) for one in found] == [True, False, True]


async def test_a_closed_store_says_so_to_everybody(tmp_path: Path) -> None:
    store = await filled(tmp_path / "s.db", 1)
    await store.close()
    found = await asyncio.gather(*(store.get_rollout(f"r{n}") for n in range(2)), return_exceptions=True)
    assert ["closed" in str(error) for error in found] == [True, True]


async def test_a_query_that_breaks_is_never_told_as_absence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    async with await filled(tmp_path / "s.db", 2) as store:
        monkeypatch.setattr(store._lookup, "_query", broken)
        found = await asyncio.gather(*(store.get_rollout(f"r{n}") for n in range(2)), return_exceptions=True)
    assert [type(one) for one in found] == [RuntimeError, RuntimeError]


@pytest.mark.parametrize("name", ["", "no such", "a\0b", "'; drop table rollouts; --"])
async def test_odd_names_are_only_names(tmp_path: Path, name: str) -> None:
    async with await filled(tmp_path / "s.db", 1) as store:
        assert await store.get_rollout(name) is None
        assert await store.get_rollout("r0") is not None
