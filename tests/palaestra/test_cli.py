"""The command line: help everywhere, nearest names, exit code 2 and no traceback for what is the user's."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from palaestra.__main__ import COMMANDS

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
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: tuple[str, ...], said: str) -> None:
    shown = palaestra(*arguments)
    assert shown.returncode == 2
    assert said in shown.stderr
    assert "Traceback" not in shown.stderr
