"""Curriculum sampling against random order, in paired seeds: what the order of tasks is worth.

Both arms of a seed begin with one warm start and train on the same pools for the same number of steps. The curriculum
first profiles its pools, a cost that is told beside it, drops what was always solved, and follows its Gaussian; the
other draws each task once before any twice, in random order. Per seed and arm: held-out reward before and after, the
mean reward over the steps' rollouts (which easy batches raise by themselves), tokens, and how many batches taught
nothing. Then the differences over seeds with their 95 % intervals (paired t). `--quick` plays two seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from support.paired import interval, metrics_by_step, play, sampled_lengths

from trainer.config import Recipe, load_recipe

ARMS = ("curriculum", "random")
MEASURES = ("reward", "training_reward", "used_share", "tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=24)
    options = parser.parse_args()
    rows = []
    for seed in range(2 if options.quick else options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            rows += seed_rows(recipe(seed, options.steps), Path(folder))
    found = {"steps": options.steps, "rows": rows, "curriculum_minus_random": compared(rows)}
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)


def recipe(seed: int, steps: int) -> Recipe:
    """Two environments with pools large enough that no task comes twice, and a warm start that leaves room."""
    pool = {"tasks": 512, "demonstrations": 500}
    return load_recipe(
        "ci",
        {
            "seed": seed,
            "environments": {"math": pool, "instruction_following": pool},
            "grpo.steps": steps,
            "grpo.prompts_per_step": 16,
            "eval.tasks": 256,
        },
    )


def seed_rows(base: Recipe, folder: Path) -> list[dict[str, Any]]:
    """Both arms; the second starts from the checkpoint that the first warm-started."""
    profiled = msgspec.structs.replace(base, grpo=msgspec.structs.replace(base.grpo, profile_repeats=4))
    first = play(profiled, folder / "runs", f"seed {base.seed}, curriculum")
    random = msgspec.structs.replace(
        base,
        checkpoint=str(Path(first["run"]) / "before"),
        grpo=msgspec.structs.replace(base.grpo, curriculum="random"),
    )
    second = play(random, folder / "runs", f"seed {base.seed}, random")
    return [told_of(base.seed, arm, summary) for arm, summary in zip(ARMS, (first, second), strict=True)]


def told_of(seed: int, arm: str, summary: dict[str, Any]) -> dict[str, Any]:
    run = Path(summary["run"])
    steps = metrics_by_step(run)
    return {
        "seed": seed,
        "arm": arm,
        "reward_before": summary["reward_before"],
        "reward": summary["reward_after"],
        "training_reward": round(statistics.fmean(step["reward"] for step in steps), 4),
        "used_share": round(statistics.fmean(step["used_sample_share"] for step in steps), 4),
        "tokens": round(statistics.fmean(sampled_lengths(run, "eval-after")), 2),
        "profiled_rollouts": len(sampled_lengths(run, "profile")),
        "trained_rollouts": len(sampled_lengths(run, "train")),
        "rewards_by_step": [round(step["reward"], 4) for step in steps],
    }


def compared(rows: list[dict[str, Any]]) -> dict[str, Any]:
    arms = {arm: {row["seed"]: row for row in rows if row["arm"] == arm} for arm in ARMS}
    pairs = [(arms["curriculum"][seed], arms["random"][seed]) for seed in arms["curriculum"]]
    found: dict[str, Any] = {name: interval([one[name] - two[name] for one, two in pairs]) for name in MEASURES}
    return found | {"seeds": len(pairs)}


def show(found: dict[str, Any]) -> None:
    print(f"{'seed':>4} {'arm':12}{'reward':>17}{'in training':>13}{'used share':>12}{'tokens':>8}{'profiled':>10}")
    for row in found["rows"]:
        reward = f"{row['reward_before']:.3f} → {row['reward']:.3f}"
        print(
            f"{row['seed']:>4} {row['arm']:12}{reward:>17}{row['training_reward']:>13.3f}{row['used_share']:>12.3f}"
            f"{row['tokens']:>8.1f}{row['profiled_rollouts']:>10}"
        )
    for name in MEASURES:
        told = found["curriculum_minus_random"][name]
        print(f"curriculum - random, {name:16}{told['mean']:+.4f} [{told.get('low')}, {told.get('high')}]")


if __name__ == "__main__":
    main()
