"""The whole line learns: the `ci` recipe through real services, in one process for learner and policy engine."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from palaestra.live import PlainView
from palaestra.meter import Meter
from palaestra.training import train
from trainer.config import load_recipe

RISE = 0.15


def run(arm: str, runs_dir: Path, **overrides: Any) -> dict[str, Any]:
    recipe = load_recipe("ci", {"arm": arm, **overrides})
    meter = Meter().start()
    try:
        return asyncio.run(train(recipe, runs_dir=runs_dir, view=PlainView(meter, arm), meter=meter, local=True))
    finally:
        meter.stop()


def test_a_reward_rises_on_held_out_tasks(tmp_path: Path) -> None:
    summary = run("grpo", tmp_path)
    assert summary["reward_after"] - summary["reward_before"] >= RISE
    for name, score in summary["environments"].items():
        assert score["after"] > score["before"], name
        assert score["num_tasks"] == 64 and score["num_failed"] == 0
    assert summary["token_mult_prob_error_max"] <= 1.001
