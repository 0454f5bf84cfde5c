"""`palaestra env new`: a folder of few lines that passes the gate, on free ground and under a possible name only."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from gym_core.check.gate import QUICK, check_path
from gym_core.errors import BadRequest, Conflict
from gym_core.registry import Registry
from palaestra.__main__ import cli
from palaestra.commands.env_templates import CODE

LIGHT = msgspec.structs.replace(QUICK, train=3, heldout=1, per_level=1, sessions=1, panel_s=0.3)
FILES = {"environment.py", "manifest.toml", "cases.jsonl", "README.md", "test_my_desk.py"}


@pytest.fixture(autouse=True)
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def new(*words: str) -> str:
    return CliRunner().invoke(cli, ["env", "new", *words], catch_exceptions=False, standalone_mode=False).output


@pytest.mark.parametrize("kind", sorted(CODE))
def test_what_is_written_is_short_and_passes_the_gate(kind: str, desk: Path) -> None:
    assert "palaestra env check ./my_desk" in new("my_desk", "--kind", kind)
    assert {path.name for path in (desk / "my_desk").iterdir()} == FILES
    code = (desk / "my_desk/environment.py").read_text().splitlines()
    assert len([line for line in code if line.strip()]) <= 20
    assert "<" not in "".join(code).replace("<=", "")
    report = check_path(desk / "my_desk", LIGHT)
    assert [(rule.id, rule.found) for rule in report.failures()] == []


def test_a_name_may_have_hyphens_and_lie_elsewhere(desk: Path) -> None:
    (desk / "shelf").mkdir()
    new("word-count2", "--into", "shelf", "--kind", "single")
    assert "class WordCount2(Environment)" in (desk / "shelf/word-count2/environment.py").read_text()
    assert (desk / "shelf/word-count2/test_word_count2.py").is_file()
    assert Registry.at(desk / "shelf/word-count2").load("word-count2").name == "word-count2"


@pytest.mark.parametrize("name", ["Lookup", "2much", "a b", "../up", "", "ä", "verify", "tasks", "x" * 65])
def test_a_name_that_cannot_be_is_refused(name: str, desk: Path) -> None:
    with pytest.raises(BadRequest, match="cannot be called"):
        new(name)
    assert list(desk.iterdir()) == []


@pytest.mark.parametrize("name", ["ledger", "math", "math_with_judge"])
def test_a_name_that_leads_to_another_environment_is_refused(name: str) -> None:
    with pytest.raises(Conflict, match="already leads to"):
        new(name)


def test_nothing_is_overwritten(desk: Path) -> None:
    (desk / "lookup").mkdir()
    (desk / "lookup/notes.txt").write_text("mine")
    with pytest.raises(Conflict, match="nothing was written"):
        new("lookup")
    (desk / "file").write_text("mine")
    with pytest.raises(Conflict):
        new("file")
    assert [path.name for path in (desk / "lookup").iterdir()] == ["notes.txt"]
    assert sorted(path.name for path in desk.iterdir()) == ["file", "lookup"]


def test_an_empty_folder_is_filled(desk: Path) -> None:
    (desk / "lookup").mkdir()
    new("lookup")
    assert (desk / "lookup/manifest.toml").is_file()
