"""What the tests of the store share: a rollout to keep, and a program of their own that keeps some."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from gym_core.contracts import Outcome, Rollout, TraceInfo, Verdict
from gym_core.store import Store

ROOT = Path(__file__).resolve().parents[3]


def make_rollout(name: str = "r1", **changes: Any) -> Rollout:
    given: dict[str, Any] = {
        "rollout_id": name,
        "environment": "maths",
        "task_id": "t1",
        "outcome": Outcome.SCORED,
        "run_id": "run",
        "verdict": Verdict(reward=0.5, components={"format": 1.0}),
        "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ünï"}]}],
        "traces": [TraceInfo(offset=0, num_bytes=3, num_tokens=1, num_trainable=1)],
        "created_at": 12.5,
    }
    return Rollout(**{**given, **changes})


async def ids(store: Store, **filters: Any) -> list[str]:
    return [rollout.rollout_id async for rollout, _ in store.iter_rollouts(**filters)]


def run_program(program: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
