"""Which Python runs inside."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from gym_core.sandbox.faults import SandboxUnavailable
from gym_core.sandbox.interpreter import VARIABLE, find_python, reachable


def test_the_one_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/bin/sh")
    assert find_python() == Path("/bin/sh").resolve()


def test_one_that_nobody_can_reach_is_refused_with_a_way_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "python3"))
    with pytest.raises(SandboxUnavailable) as refused:
        find_python()
    assert VARIABLE in refused.value.hint


def test_a_file_behind_a_closed_folder_is_out_of_reach_for_jobs_of_root(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("gym_core.sandbox.interpreter.jobs_uid", lambda: 700_000)
    file = tmp_path / "closed" / "python3"
    file.parent.mkdir(mode=0o700)
    file.write_text("")
    file.chmod(0o755)
    assert not reachable(file)
    assert reachable(Path("/bin/sh").resolve())


def test_an_interpreter_whose_library_nobody_can_reach_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A virtual environment may hold a copy of an interpreter that lives in somebody's closed home."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr("gym_core.sandbox.interpreter.jobs_uid", lambda: 700_000)
    closed = tmp_path / "closed" / "os.py"
    closed.parent.mkdir(mode=0o700)
    closed.write_text("")
    monkeypatch.setattr("gym_core.sandbox.interpreter.sys.executable", "/bin/sh")
    monkeypatch.setattr("gym_core.sandbox.interpreter.os.__file__", str(closed))
    with contextlib.suppress(SandboxUnavailable):  # no system's Python here: refused rather than half usable
        assert find_python() != Path("/bin/sh").resolve()
