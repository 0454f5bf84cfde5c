"""From a spec to a class: named where it has no name, forgotten for the next load, and faults that name the line."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gym_core.errors import BadRequest
from gym_core.loading import forget, import_fault, load_class, load_file, named


@pytest.mark.parametrize(
    ("written", "wanted"),
    [("Lookup", "lookup"), ("WordCount", "word_count"), ("HTTPLookup2", "http_lookup2"), ("A", "a"), ("GPTQ", "gptq")],
)
def test_a_class_without_a_name_is_named_after_itself(written: str, wanted: str) -> None:
    assert named(type(written, (), {"name": ""})).name == wanted
    assert named(type(written, (), {"name": "own"})).name == "own"
    assert not hasattr(named(type(written, (), {})), "name")


def test_loading_by_spec_names_the_class_too(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("class TwoWords:\n    name = ''\n")
    assert load_class(f"{path}:TwoWords").name == "two_words"


def test_what_is_forgotten_is_read_again_and_can_be_put_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "x.py"
    path.write_text("value = 1")
    first = load_file(path)
    path.write_text("value = 2")
    assert load_file(path).value == 1
    dropped = forget(tmp_path)
    assert dropped == {first.__name__: first}
    assert load_file(path).value == 2
    forget(path)
    sys.modules.update(dropped)
    assert load_file(path) is first
    forget(path)
    assert forget(tmp_path / "elsewhere") == {}


def fault(path: Path) -> str:
    with pytest.raises(Exception) as raised:
        load_file(path)
    return import_fault(path, raised.value).message.removeprefix(f"{path.parent}/")


def test_a_fault_names_the_authors_line(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("import json\n\njson.loads('{')\n")
    assert fault(path).startswith("x.py:3: JSONDecodeError")
    path.write_text("x = (\n")
    assert fault(path).startswith("x.py:1: SyntaxError")
    path.write_text("\nimport no_such_thing\n")
    assert fault(path) == "x.py:2: ModuleNotFoundError: No module named 'no_such_thing'"


def test_a_refusal_of_ours_stays_itself(tmp_path: Path) -> None:
    refusal = BadRequest("no", field="x")
    assert import_fault(tmp_path, refusal) is refusal
