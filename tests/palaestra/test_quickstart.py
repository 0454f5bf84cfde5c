"""The newcomer's first command: it works with the light core alone, says what happened, and keeps it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from gym_core.environment import Environment
from gym_core.errors import BadRequest, UnknownName
from gym_core.manifest import Manifest
from gym_core.registry import LoadedEnvironment, Registry
from gym_core.store import Store
from palaestra import quickstart
from palaestra.commands.quickstart import command

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "ray", "transformers", "tokenizers", "safetensors", "jinja2", "triton", "llguidance", "tensorboard")
BLOCKER = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
"""


def run(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`palaestra ARGUMENTS` where only the light core can be imported, worker processes included."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKER)
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PALAESTRA", "OTEL"))}
    environ |= {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "COLUMNS": "100"}
    command = [sys.executable, "-m", "palaestra", *arguments]
    return subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=300)


async def test_the_light_core_alone_plays_and_scores(tmp_path: Path) -> None:
    done = run(tmp_path, "quickstart", "--rollouts", "8")
    assert done.returncode == 0, done.stderr
    text = done.stdout
    assert "8 of 8 rollouts scored, mean reward 0.50" in text
    for said in ("deposit", "verdict", "reward 1", "reward 0", "policy", "palaestra dashboard", "A script played"):
        assert said in text
    (folder,) = (tmp_path / "runs").iterdir()
    async with await Store.open(folder / "store.db", create=False) as store:
        (kept,) = await store.runs()
        assert (kept.kind, kept.status, kept.summary["mean_reward"]) == ("quickstart", "finished", 0.5)
        assert await store.count_rollouts(folder.name) == 8


def test_json_is_for_scripts(tmp_path: Path) -> None:
    asked = ["--env", "ledger", "--rollouts", "2", "--json", "--runs-dir", str(tmp_path / "runs")]
    done = CliRunner().invoke(command, asked)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert [(one["environment"], one["outcome"], one["reward"]) for one in told["rollouts"]] == [
        ("ledger", "scored", 1.0),
        ("ledger", "scored", 0.0),
    ]
    assert told["first_rollout_s"] > 0 and told["rollouts"][0]["components"]["state"] == 1.0


def test_a_model_needs_more_than_the_light_core_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    done = run(tmp_path, "quickstart", "--model", str(tmp_path))
    assert done.returncode == 2 and "more than the light core" in done.stderr and "palaestra[train]" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["--env", "nothing"], UnknownName),
        (["--model", ".", "--policy", "http://x"], click.UsageError),
        (["--rollouts", "0"], click.UsageError),
    ],
)
def test_what_cannot_be_played_leaves_nothing(tmp_path: Path, arguments: list[str], error: type[Exception]) -> None:
    with pytest.raises(error):
        command.main([*arguments, "--runs-dir", str(tmp_path / "runs")], standalone_mode=False)
    assert not (tmp_path / "runs").exists()


async def test_half_of_the_scripts_are_wrong_in_every_environment() -> None:
    plans = await quickstart.plan(quickstart.ENVIRONMENTS, 16, seed=0, level=0, scripted=True)
    wrong = [(one.task.environment, "another task" in one.about) for one in plans]
    for name in quickstart.ENVIRONMENTS:
        assert sorted(is_wrong for env, is_wrong in wrong if env == name) == [False, False, True, True]
    assert len({str(one.task.messages) + one.task.environment for one in plans}) == 16


async def test_an_environment_that_makes_no_tasks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Environment):
        name = "silent"

        def verify(self, task: Any, session: Any, reply: Any) -> float:
            return 0.0

    loaded = LoadedEnvironment(Manifest(name="silent", module="x", class_name="Silent"), Silent, "x:Silent")
    monkeypatch.setattr(Registry, "resolve", lambda self, name: name)
    monkeypatch.setattr(Registry, "load", lambda self, name: loaded)
    with pytest.raises(BadRequest, match="makes no tasks"):
        await quickstart.plan(["silent"], 1, seed=0, level=0, scripted=True)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadRequest, match="cannot make the folder"):
        quickstart.begin(tmp_path / "file")
