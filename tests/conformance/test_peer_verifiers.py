"""verifiers itself, from its own environment (`make peers`), on our environments through its `NeMoGymTaskset`."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from chatting import chat_app
from whole_gym import open_gym, run_driver

from gym_core.serve import start

pytestmark = [pytest.mark.peers, pytest.mark.slow]

DRIVERS = Path(__file__).parent / "drivers"


async def test_their_taskset_scores_our_environments(peer: Callable[[str], Path], tmp_path: Path) -> None:
    python = peer("verifiers")
    async with AsyncExitStack() as stack:
        gym, _ = await open_gym(stack, tmp_path)
        for name, rows in (("ledger", gym.ledger), ("math", gym.math)):
            scripts = [gym.scripts[row["task_id"]] for row in rows]
            right = [
                {"calls": [(one.name, one.arguments) for one in said.calls], "reply": said.reply} for said in scripts
            ]
            wrong = [{"calls": [], "reply": "I do not know."} for _ in rows]
            (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows * 2))
            (tmp_path / "scripts.json").write_text(json.dumps([*right, *wrong]))
            # The environment's own address, and the head's, where row and cookie say which environment it is.
            for url in (f"{gym.environments.url}/{name}", gym.head.url):
                said = await run_driver(
                    python, DRIVERS / "verifiers_taskset.py", url, str(tmp_path / "rows.jsonl"),
                    str(tmp_path / "scripts.json"),
                )  # fmt: skip
                assert [one["reward"] for one in said] == [1.0] * len(rows) + [0.0] * len(rows), (name, url)
                assert (len(said[0]["tools"]) > 0) == (name == "ledger")


async def test_their_harness_plays_whole_episodes(peer: Callable[[str], Path], tmp_path: Path) -> None:
    """Its null harness, the tools of a session through its MCP bridge, a policy that knows the answers."""
    python = peer("verifiers")
    environ = {**os.environ, "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}"}
    async with AsyncExitStack() as stack:
        gym, policy = await open_gym(stack, tmp_path)
        brain = await stack.enter_async_context(await start(chat_app(policy)))
        for name, rows in (("ledger", gym.ledger[:2]), ("math", gym.math[:1])):
            path = tmp_path / f"{name}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows))
            url = f"{gym.environments.url}/{name}"
            said = await run_driver(
                python, DRIVERS / "verifiers_episodes.py", url, brain.url, str(path), environ=environ
            )
            assert said == [{"ok": True, "errors": [], "reward": 1.0}] * len(rows), name
