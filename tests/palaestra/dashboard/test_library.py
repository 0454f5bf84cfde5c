"""Stores are found, opened when they are asked for, and missed plainly when they are gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from gym_core.errors import BadRequest, UnknownName
from gym_core.store import Run
from gym_core.store.fault import StoreFault
from palaestra.dashboard import library as libraries
from palaestra.dashboard.library import Library


def put(empty: Path, *places: Path) -> None:
    for place in places:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(empty, place)


def test_what_a_place_holds(tmp_path: Path, empty_store: Path) -> None:
    put(empty_store, tmp_path / "runs/a/store.db", tmp_path / "runs/b c/store.db", tmp_path / "runs/rollouts.db")
    (tmp_path / "runs" / "no-run").mkdir()
    assert list(Library([tmp_path / "runs"]).shelves()) == ["a", "b_c", "rollouts"]
    assert list(Library([tmp_path / "runs" / "a"]).shelves()) == ["a"]
    assert list(Library([tmp_path / "runs" / "rollouts.db"]).shelves()) == ["rollouts"]
    both = Library([tmp_path / "runs" / "a", f"sqlite:///{tmp_path}/runs/a/store.db"]).shelves()
    assert list(both) == ["a", "a-2"]
    assert Library([tmp_path / "absent"]).shelves() == {}


def test_a_password_in_an_address_is_in_no_name() -> None:
    (key,) = Library(["postgresql://me:secret@db.example/gym?x=1"]).shelves()
    assert key == "db.example_gym"


def test_nothing_to_show_is_refused() -> None:
    with pytest.raises(BadRequest):
        Library([])


async def test_runs_that_begin_later_are_found_and_gone_ones_are_missed(tmp_path: Path, empty_store: Path) -> None:
    library = Library([tmp_path])
    with pytest.raises(UnknownName):
        async with library.reading("a"):
            pass
    put(empty_store, tmp_path / "a/store.db")
    async with library.reading("a") as store:
        await store.create_run(Run(run_id="r"))
    shutil.rmtree(tmp_path / "a")
    with pytest.raises(UnknownName, match="no store 'a'"):
        async with library.reading("a"):
            pass
    put(empty_store, tmp_path / "a/store.db")  # another file under the same name
    async with library.reading("a") as store:
        assert await store.runs() == []
    await library.close()


async def test_only_so_many_are_kept_open(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries, "MAX_OPEN", 2)
    put(empty_store, *(tmp_path / f"{name}/store.db" for name in "abcd"))
    library = Library([tmp_path])
    async with library.reading("a") as held:
        for name in "bcd":
            async with library.reading(name) as store:
                assert await store.runs() == []
        assert len(library._open) == 2 and "a" in library._open
        assert await held.runs() == []  # never closed under its reader
    await library.close()


async def test_what_is_no_store_says_so(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("not a database, but long enough to be looked at" * 100)
    library = Library([tmp_path / "x.db"])
    with pytest.raises((BadRequest, StoreFault)):
        async with library.reading("x"):
            pass
