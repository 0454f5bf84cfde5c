"""The command line: help everywhere, nearest names, exit code 2 and no traceback for what is the user's."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from palaestra.__main__ import COMMANDS, EXTRAS
from palaestra.options import print_table

ROOT = Path(__file__).resolve().parent.parent.parent


def palaestra(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "palaestra", *arguments], capture_output=True, text=True, cwd=ROOT, check=False
    )


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(name: str) -> None:
    shown = palaestra(name, "--help")
    assert shown.returncode == 0 and "Usage" in shown.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("trian",), "Did you mean `train`?"),
        (("train", "--recipe", "demmo"), "demo"),
        (("train", "--set", "grpo.stepz=1"), "steps"),
        (("env", "tasks", "mth"), "math"),
        (("env", "serve", "nothing"), "no environment is called 'nothing'"),
        (("run", "--env", "math", "--output", "x.jsonl"), "--input"),
        (("chat", "."), "holds no checkpoint"),
        (("runs", "nothing"), "no run 'nothing'"),
        (("agent", "serve"), "policy"),
        (("serve",), "no checkpoint and no upstream"),
        (("serve", "--model", ".", "--upstream", "http://127.0.0.1:9"), "not both"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    shown = palaestra(*arguments)
    assert shown.returncode == 2
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr


def test_what_the_light_core_lacks_is_named_with_its_extra(tmp_path: Path) -> None:
    """`pip install .` brings no torch: a command that needs it says how to get it."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError('No module named torch', name='torch')\n")
    shown = subprocess.run(
        [sys.executable, "-m", "palaestra", "plan", "nano-rlvr", "--gpus", "8"],
        capture_output=True, text=True, cwd=ROOT, check=False,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert (shown.returncode, shown.stdout) == (2, "")
    assert shown.stderr == "error: this needs torch, which is not installed\n  pip install 'palaestra[train]'\n"


def test_every_extra_that_is_named_is_one_of_ours() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(EXTRAS.values()) <= set(extras)
    brought = {name: " ".join(extras[extra]).replace("-", "_") for name, extra in EXTRAS.items()}
    assert [name for name, packages in brought.items() if name not in packages] == []


def test_a_table_cuts_nothing(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = "quickstart-20261122-125551-22431"
    row = {"run_id": run_id, "reward_before": 0.25, **{f"column_{n}": "abcdefghij" * 2 for n in range(6)}}
    monkeypatch.setenv("COLUMNS", "80")
    print_table(list(row), [row])
    narrow = capsys.readouterr().out
    assert run_id in narrow and "…" not in narrow
    assert sum(narrow.count(letter) for letter in "j") == 12
    monkeypatch.delenv("COLUMNS")
    print_table(["run_id", "text"], [{"run_id": run_id, "text": "x" * 80}])
    assert f"{run_id}  {'x' * 80}" in capsys.readouterr().out, "a pipe has room for 120"
    print_table(["run_id"], [])
    assert capsys.readouterr().out == "(none)\n"


def test_a_table_shows_brackets_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [
        {"message": "[/] is no number", "kind": "list[int]"},
        {"message": "x", "kind": ["[red]a", "b"]},
    ]
    print_table(["message", "kind"], rows, title="2 refused in [x].jsonl, a name that is longer than the table is wide")
    told = capsys.readouterr().out
    assert "[/] is no number" in told and "list[int]" in told and "[red]a, b" in told
    assert told.splitlines()[0] == "2 refused in [x].jsonl, a name that is longer than the table is wide"
