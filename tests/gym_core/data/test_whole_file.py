"""Whole files: there when finished, as before when not."""

from __future__ import annotations

from pathlib import Path

import pytest

from gym_core.data.whole_file import WholeFile
from gym_core.errors import BadRequest


def test_nothing_is_seen_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    with WholeFile(path) as file:
        file.row({"a": 1})
        assert path.read_text() == "old\n"
    assert path.read_text() == '{"a":1}\n'
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("old\n")
    with pytest.raises(RuntimeError), WholeFile(path) as file:
        file.row({"a": 1})
        raise RuntimeError
    assert path.read_text() == "old\n"
    assert [each.name for each in tmp_path.iterdir()] == ["out.jsonl"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be written") as refused:
        WholeFile(tmp_path / "no" / "out.jsonl")
    assert str(tmp_path / "no") in refused.value.hint
    with pytest.raises(BadRequest, match="is a folder"):
        WholeFile(tmp_path)
