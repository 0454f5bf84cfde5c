"""kill -9 at every boundary of a step and inside each of its stages: the resumed run ends with the same bytes.

The undisturbed run and each killed one are lives of one small run (`nursery.py`): real loop, learner, journal,
checkpoints and publisher over HTTP, and a sampler whose tokens follow from weights and seeds. Compared are weights,
journal, rollouts and checkpoints.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from trainer.grpo import STAGES

NURSERY = Path(__file__).with_name("nursery.py")
ROOT = NURSERY.parent.parent.parent
KILLED = -9

BOUNDARIES = [f"stage {stage} 1" for stage in STAGES]
INSIDE = [
    "rollouts 5",  # the first step is played in part, and nothing was ever saved
    "rollouts 20",
    "update 0",  # one of two minibatches is applied
    "update 3",
    "weights 3",  # served, not yet acknowledged
]
FILES = 8
"""So many file operations, spread over the run, are deaths in the short form; the long form dies at each."""


async def lives(moments: Sequence[str]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The undisturbed life, and what came of each killed one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(NURSERY), cwd=ROOT, stdin=-1, stdout=-1, stderr=-1,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stdout is not None
    out, told = await process.communicate("".join(f"{moment}\n" for moment in moments).encode())
    assert process.returncode == 0, told.decode()
    first, *rest = map(json.loads, out.splitlines())
    return first, rest


def check(first: dict[str, Any], found: Sequence[dict[str, Any]], moments: Sequence[str]) -> None:
    assert first["ended"] == 0 and [one["moment"] for one in found] == list(moments)
    assert [one for one in found if one["ends"] != [KILLED, 0] or one["wrong"]] == []


async def test_a_run_killed_in_each_stage_ends_as_if_nothing_had_happened() -> None:
    moments = [*BOUNDARIES, *INSIDE]
    check(*await lives(moments), moments)


async def test_a_run_killed_between_two_operations_on_its_files() -> None:
    touched = 200  # about as many as there are: a number past the end would not kill, and fail the check
    moments = [f"file {number * touched // FILES}" for number in range(FILES)]
    check(*await lives(moments), moments)


@pytest.mark.slow
async def test_a_run_killed_at_every_operation_on_its_files() -> None:
    first, _ = await lives([])
    moments = [f"stage {stage} {step}" for stage in STAGES for step in range(3) if (stage, step) != ("validate", 0)]
    moments = [moment for moment in moments if moment != "stage validate 2"]
    moments += [f"file {number}" for number in range(first["touched"])]
    check(*await lives(moments), moments)
