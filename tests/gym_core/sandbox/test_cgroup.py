"""Control groups of both versions, on folders that look like the kernel's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gym_core.sandbox import cgroup
from gym_core.sandbox.cgroup import ControlGroup


class Kernel:
    """Fills each new group with the files that the kernel would put there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]) -> None:
        mkdir = Path.mkdir

        def make(path: Path, *arguments: object) -> None:
            mkdir(path)
            for name in names:
                (path / name).write_text("")

        monkeypatch.setattr(Path, "mkdir", make)


@pytest.mark.parametrize(
    ("names", "memory"),
    [
        (("cgroup.procs", "cgroup.controllers", "memory.max", "pids.max"), "memory.max"),
        (("cgroup.procs", "memory.limit_in_bytes", "pids.max"), "memory.limit_in_bytes"),
    ],
)
def test_limits_are_written_where_the_version_wants_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: tuple[str, ...], memory: str
) -> None:
    monkeypatch.setattr(cgroup, "_parents", lambda: [(["memory", "pids"], tmp_path)])
    Kernel(monkeypatch, names)
    group = ControlGroup.make(64)
    assert group.bounds_memory
    group.limit(256)
    group.add(4711)
    folder = group.folders["memory"]
    assert (folder / memory).read_text() == str(256 << 20)
    assert ((folder / "pids.max").read_text(), (folder / "cgroup.procs").read_text()) == ("64", "4711")
    (folder / memory).write_text("untouched")
    group.limit(256)
    assert (folder / memory).read_text() == "untouched"


def test_where_nothing_is_writable_nothing_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroup, "_parents", lambda: [(["memory"], tmp_path / "absent")])
    group = ControlGroup.make(64)
    group.limit(256)
    group.add(4711)
    group.remove()
    assert not group.bounds_memory


def test_groups_of_the_dead_are_removed_and_those_of_the_living_stay(tmp_path: Path) -> None:
    dead, living = tmp_path / "palaestra-4999999-1", tmp_path / f"palaestra-{os.getpid()}-1"
    dead.mkdir()
    living.mkdir()
    cgroup._remove_stale(tmp_path)
    assert not dead.exists() and living.exists()
