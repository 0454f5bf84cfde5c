"""`palaestra env serve` of a path: a scripted policy plays at once, and again after every save that loads."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from gym_core.client import Client
from gym_core.contracts import TaskRef
from gym_core.environment import Script
from gym_core.generate import make_task
from gym_core.registry import LoadedEnvironment, Registry
from gym_core.serve import start
from gym_core.server import build_app
from palaestra.__main__ import cli
from palaestra.commands.env_show import show

ROOT = Path(__file__).resolve().parents[2]
CODE = '''
"""Boxes."""
from gym_core.environment import Call, Environment, Script, ToolFault, tool


class Boxes(Environment):
    """Say the code of the box; 1.0 for exactly the code, 0.0 otherwise."""

    def make(self, rng, level):
        return {"prompt": f"Which code opens box {rng.randint(1000, 9999)}?", "code": rng.randint(10**6, 10**7)}

    @tool
    def look(self, session) -> int:
        """The code."""
        return session.task["code"]

    def verify(self, task, session, reply):
        return reply.text.strip() == str(task["code"])

    def oracle(self, task):
        return Script((Call("look"),), str(task["code"]))
'''


@asynccontextmanager
async def serving(*words: str, cwd: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "palaestra", "env", "serve", *words),
        stdout=asyncio.subprocess.PIPE,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # whoever runs the tests in the background has told them to ignore interrupts, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def until(process: asyncio.subprocess.Process, words: str) -> list[str]:
    """The lines up to the first that has these words."""
    assert process.stdout is not None
    lines: list[str] = []
    async with asyncio.timeout(60):
        while not lines or words not in lines[-1]:
            line = await process.stdout.readline()
            assert line, lines
            lines.append(line.decode().rstrip())
    return lines


async def test_a_file_is_played_and_served_anew_after_each_save_that_loads(tmp_path: Path) -> None:
    file = tmp_path / "boxes.py"
    file.write_text(CODE)
    async with serving("./boxes.py", "--rollouts", "1", cwd=tmp_path) as process:
        first = await until(process, "watching")
        url = json.loads(first[0])["url"]
        shown = " ".join(" ".join(first[1:]).split())
        assert "boxes · level 0 · oracle" in shown
        assert "user Which code opens box" in shown and "call look {} tool " in shown and "reward 1 " in shown
        file.write_text(CODE.replace("def verify(", "def verify(("))
        kept = await until(process, "kept the last good one")
        assert "boxes.py:17: SyntaxError" in kept[-1]
        async with Client(url) as client:  # the old one still answers
            assert (await client.get_json("/healthz"))["environments"] == {"boxes": "1.0.0"}
            file.write_text(CODE.replace("Which code", "Tell what"))
            again = await until(process, "reward")
            assert "saved: served anew" in again[0] and any("Tell what" in line for line in again)
            (row,) = (await client.post_json("/tasks", {"seed": 0, "level": 0, "count": 1}))["tasks"]
            assert "Tell what" in str(row)  # under the same address
        process.terminate()
        assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_a_save_whose_tasks_cannot_be_made_keeps_the_last_good_one(tmp_path: Path) -> None:
    file = tmp_path / "boxes.py"
    file.write_text(CODE)
    async with serving("./boxes.py", "--policy", "none", cwd=tmp_path) as process:
        await until(process, "watching")
        file.write_text(CODE.replace("rng.randint(1000, 9999)", "rng.no_such_method()"))
        kept = await until(process, "kept the last good one")
        assert "boxes.py:10: AttributeError" in kept[-1]


async def test_an_interrupt_ends_it(tmp_path: Path) -> None:
    (tmp_path / "boxes.py").write_text(CODE)
    async with serving("./boxes.py", cwd=tmp_path) as process:
        await until(process, "watching")
        process.send_signal(2)
        assert await asyncio.wait_for(process.wait(), 30) == 130


async def test_names_are_served_without_a_policy(tmp_path: Path) -> None:
    async with serving("ledger", cwd=tmp_path) as process:
        (line,) = await until(process, "ready")
        async with Client(json.loads(line)["url"]) as client:
            assert (await client.get_json("/manifest"))["name"] == "ledger"


def test_a_policy_wants_one_environment() -> None:
    result = CliRunner().invoke(cli, ["env", "serve", "ledger", "math", "--policy", "idle"])
    assert result.exit_code == 2 and "want one environment" in result.stderr


# What is shown ---------------------------------------------------------------------------------------------------


def boxes(tmp_path: Path, code: str = CODE) -> LoadedEnvironment:
    (tmp_path / "boxes.py").write_text(code)
    return Registry.at(tmp_path / "boxes.py").load("boxes")


async def shown(loaded: LoadedEnvironment, policy: str, rollouts: int = 3) -> str:
    lines: list[str] = []
    async with await start(build_app([loaded])) as served:
        await show(loaded.cls(), served.url, policy, rollouts, lines.append)
    return click.unstyle("\n".join(lines))


@pytest.mark.parametrize(("policy", "reward"), [("oracle", "1"), ("idle", "0"), ("random", "0")])
async def test_each_policy_earns_what_it_should(policy: str, reward: str, tmp_path: Path) -> None:
    said = await shown(boxes(tmp_path), policy)
    assert said.count(f"reward   {reward}  (") == 3
    assert [f"level {level} ·" in said for level in range(5)] == [True, False, True, False, True]


async def test_what_breaks_is_shown_and_the_next_rollout_played(tmp_path: Path) -> None:
    broken = CODE.replace('return Script((Call("look"),), str(task["code"]))', "return 1 // task.ref.level * 'x'")
    assert broken != CODE
    said = await shown(boxes(tmp_path, broken), "oracle")
    assert said.count("ZeroDivisionError") == 1 and said.count("reward") == 2


async def test_one_that_makes_no_tasks_says_so(tmp_path: Path) -> None:
    said = await shown(boxes(tmp_path, CODE.replace("def make(", "def do_not_make(")), "oracle")
    assert "generates no tasks" in said


def test_a_bare_class_without_a_name_is_named_after_itself(tmp_path: Path) -> None:
    loaded = boxes(tmp_path)
    task = make_task(loaded.cls(), TaskRef(seed=1, level=0, index=0))
    assert task.task_id.startswith("boxes-")
    assert isinstance(loaded.cls().oracle(task), Script)
