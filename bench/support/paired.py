"""Paired runs of one recipe: the same seed in every arm, differences per seed, and how sure their mean is."""

from __future__ import annotations

import asyncio
import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gym_core.store import Store
from gym_core.tokens import decode_trace
from palaestra.live import PlainView
from palaestra.meter import Meter
from palaestra.training import train
from trainer.config import Recipe

# Two-sided 95 % points of Student's t for 1 to 15 degrees of freedom (any table of it).
_T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


def interval(differences: Sequence[float]) -> dict[str, float]:
    """Mean of paired differences with its 95 % interval; one pair has a mean and no interval."""
    mean = statistics.fmean(differences)
    if len(differences) < 2:
        return {"mean": round(mean, 4)}
    if len(differences) - 1 > len(_T95):
        raise ValueError(f"intervals are tabled for up to {len(_T95) + 1} pairs, not {len(differences)}")
    half = _T95[len(differences) - 2] * statistics.stdev(differences) / math.sqrt(len(differences))
    return {"mean": round(mean, 4), "low": round(mean - half, 4), "high": round(mean + half, 4)}


def play(recipe: Recipe, runs_dir: Path, title: str) -> dict[str, Any]:
    """One run in this process: its summary, and `run`, its folder. Its lines of progress go to stderr."""
    meter = Meter().start()
    sys.stderr.write(f"{title} …\n")
    try:
        view = PlainView(meter, title)
        summary = asyncio.run(train(recipe, runs_dir=runs_dir, view=view, meter=meter, local=True))
    finally:
        meter.stop()
    return summary | {"run": str(runs_dir / summary["run_id"])}


def sampled_lengths(run: Path, purpose: str) -> list[int]:
    """Tokens that the policy wrote in every rollout of one purpose (`eval-before`, `eval-after`)."""

    async def read() -> list[int]:
        async with await Store.open(str(run / "store.db"), create=False) as store:
            return [
                int(decode_trace(blob).loss_mask.sum())  # every segment of every trace, end to end
                async for rollout, blob in store.iter_rollouts(run.name)
                if rollout.labels["purpose"] == purpose and blob
            ]

    return asyncio.run(read())


def metrics_by_step(run: Path) -> list[dict[str, float]]:
    """What every training step logged, in order."""

    async def read() -> list[dict[str, float]]:
        async with await Store.open(str(run / "store.db"), create=False) as store:
            return [values for _, values in await store.metrics(run.name) if "reward" in values]

    return asyncio.run(read())
