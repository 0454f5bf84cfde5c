"""`scripts/lean_wasm.py` reads what Lean says of one file: refusals of ours and of the false theorems apart."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).resolve().parents[3] / "scripts"


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    spec = importlib.util.spec_from_file_location("lean_wasm_script", SCRIPTS / "lean_wasm.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    sys.modules.pop("lean", None)


def test_warnings_are_no_refusals_and_silence_is_no_agreement(script):
    said = "All.lean:3:1: warning: unused variable `p`\nAll.lean:12:29: error: omega could not prove it\n"
    assert script.judged(said, 10) == {"refused": 0, "false_refused": 1}
    assert script.judged("", 10) == {"refused": 0, "false_refused": 0}


def test_an_error_or_a_hole_in_ours_is_a_refusal_once_for_each_line(script):
    said = (
        "All.lean:4:2: error: unsolved goals\nAll.lean:4:9: error: again\n"
        "All.lean:7:8: warning: declaration uses 'sorry'\nAll.lean:11:1: error: false\n"
    )
    assert script.judged(said, 10) == {"refused": 2, "false_refused": 1}


def test_the_library_and_the_program_stand_where_the_runner_looks(script, tmp_path):
    scratch = tmp_path / "scratch"
    (scratch / "Init").mkdir(parents=True)
    for name in ("lean.js", "lean.wasm", "Init.olean", "._Init.olean"):
        (scratch / name).write_text(name)
    script._as_package(scratch, tmp_path / "package")
    assert sorted(path.name for path in (tmp_path / "package").iterdir()) == ["lean.js", "lean.wasm", "root"]
    assert sorted(path.name for path in (tmp_path / "package" / "root").iterdir()) == ["Init", "Init.olean"]
