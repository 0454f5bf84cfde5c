"""The shim: a trainer's own calls into `nemo_gym`, from a process that sees our shim under that name."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import venv
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "agent_server"))
sys.path.insert(0, str(Path(__file__).parent.parent / "conformance"))

from whole_gym import Gym, open_gym, run_driver

ROOT = Path(__file__).parent.parent.parent
SHIM = ROOT / "compat" / "nemo_gym"
DRIVER = ROOT / "tests" / "conformance" / "drivers" / "shim_trainer.py"
HERE = {**os.environ, "PYTHONPATH": f"{SHIM}{os.pathsep}{ROOT}"}


def rows_of(gym: Gym, tmp_path: Path) -> Path:
    rows = [*gym.ledger[:2], gym.math[0]]
    for number, row in enumerate(rows):
        row["_rowidx"] = number
        row["task_source" if number else "agent_ref"] = "math_with_judge" if number == 2 else "ledger_simple_agent"
    rows[0]["agent_ref"] = {"type": "responses_api_agents", "name": "ledger_simple_agent"}
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def config_of(tmp_path: Path, **values: Any) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"policy_model_name": "m", "policy_api_key": "dummy_key", **values}))
    return path


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def check(said: dict[str, Any]) -> None:
    assert sorted(one["row"] for one in said["results"]) == [0, 1, 2]
    assert all(one["reward"] == 1.0 and one["trained"] > 0 for one in said["results"])
    assert said["errors"] == [] and said["classes"] == ["", "", ""] and said["alive"] == {"status": "ok"}
    assert "ledger_simple_agent" in said["agents"] and "'nowhere'" in said["unknown"]


async def test_it_attaches_to_a_running_head(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gym, _ = await open_gym(stack, tmp_path)
        config = config_of(tmp_path, head_server={"host": "0.0.0.0", "port": 4711}, palaestra={"head": gym.head.url})
        said = await run_driver(Path(sys.executable), DRIVER, str(config), str(rows_of(gym, tmp_path)), environ=HERE)
    check(said)


async def test_failures_are_errors_that_survive_a_process_boundary(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        gym, policy = await open_gym(stack, tmp_path)
        policy.broken = True
        at = urlsplit(gym.head.url)
        config = config_of(
            tmp_path, head_server={"host": at.hostname, "port": at.port}, palaestra={"head": gym.head.url}
        )
        said = await run_driver(Path(sys.executable), DRIVER, str(config), str(rows_of(gym, tmp_path)), environ=HERE)
    assert said["results"] == [] and len(said["errors"]) == 3
    assert all(one["status"] == 500 and "policy_error" in one["content"] for one in said["errors"])
    assert said["classes"] == ["agent_run_error"] * 3


async def test_it_starts_a_gym_and_ends_it_again(tmp_path: Path) -> None:
    """Environments, agent and head as processes of their own, between them and a policy that is there already."""
    async with AsyncExitStack() as stack:
        gym, _ = await open_gym(stack, tmp_path)
        command = tmp_path / "palaestra"
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m palaestra "$@"\n')
        command.chmod(0o755)
        ours = {"environments": ["ledger", "math"], "policy_url": gym.policy.url}
        port = free_port()
        config = config_of(tmp_path, head_server={"host": "0.0.0.0", "port": port}, palaestra=ours)
        said = await run_driver(
            Path(sys.executable), DRIVER, str(config), str(rows_of(gym, tmp_path)),
            environ={**HERE, "PALAESTRA_COMMAND": str(command)},
        )  # fmt: skip
    check(said)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0, "the head is gone"


async def test_what_cannot_start_is_said_and_leaves_nothing_behind(tmp_path: Path) -> None:
    code = (
        "from nemo_gym.cli import RunHelper, GlobalConfigDictParserConfig as C\n"
        "h = RunHelper()\n"
        "try:\n    h.start(C(initial_global_config_dict={'head_server': {'port': 1}}))\n"
        "except RuntimeError as e:\n    print(e, h._processes)\n"
    )
    environ = {name: value for name, value in HERE.items() if not name.startswith("PALAESTRA_")}
    for command, said in (("/bin/false", "'environments' did not start"), ("", "set PALAESTRA_HEAD")):
        given = {**environ, "PATH": "/nowhere", **({"PALAESTRA_COMMAND": command} if command else {})}
        ran = subprocess.run([sys.executable, "-c", code], env=given, capture_output=True, text=True, check=True)
        assert said in ran.stdout and ran.stdout.rstrip().endswith("{}")


@pytest.mark.slow
@pytest.mark.peers
async def test_it_installs_on_its_own_and_needs_nothing_of_ours(tmp_path: Path) -> None:
    place = tmp_path / "venv"
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    source = tmp_path / "source"
    subprocess.run(["cp", "-r", str(SHIM), str(source)], check=True)
    done = subprocess.run([str(python), "-m", "pip", "install", "-q", str(source)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"the package index cannot be reached: {done.stderr[-200:]}")
    async with AsyncExitStack() as stack:
        gym, _ = await open_gym(stack, tmp_path)
        config = config_of(tmp_path, head_server={"host": "0.0.0.0", "port": 4712}, palaestra={"head": gym.head.url})
        said = await run_driver(python, DRIVER, str(config), str(rows_of(gym, tmp_path)))
    check(said)
