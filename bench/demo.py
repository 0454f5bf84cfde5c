"""The demo over seeds and arms: what held-out reward rises by, beside the two controls, and what a run costs.

Each row is one `palaestra train` in processes of its own, one after the other. The `sft` arm spends the CPU seconds
that the GRPO run of the same seed, before it, has spent on reinforcement.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from typing import Any

COLUMNS = ("arm", "seed", "before", "after", "change", "greedy_before", "greedy_after", "seconds", "cpu_seconds", "mb")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the runs' summaries as a JSON list")
    parser.add_argument("--quick", action="store_true", help="the short `ci` recipe, one seed, all arms")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--arms", default="grpo,sft,shuffled")
    parser.add_argument("--runs-dir", default="runs")
    options = parser.parse_args()
    seeds = [0] if options.quick else [int(seed) for seed in options.seeds.split(",")]
    recipe = "ci" if options.quick else "demo"
    summaries = []
    if not options.json:
        print("  ".join(f"{column:>13}" for column in COLUMNS))
    for seed in seeds:
        for arm in options.arms.split(","):
            summary = run(recipe, arm, seed, options.runs_dir)
            summaries.append(summary)
            if not options.json:
                print("  ".join(f"{value:>13}" for value in row(summary)), flush=True)
    if options.json:
        print(json.dumps(summaries, indent=1))


def run(recipe: str, arm: str, seed: int, runs_dir: str) -> dict[str, Any]:
    """The summary of one run."""
    command = ["train", "--recipe", recipe, "--arm", arm, "--seed", str(seed), "--runs-dir", runs_dir, "--json"]
    done = subprocess.run([sys.executable, "-m", "palaestra", *command], stdout=subprocess.PIPE, check=True)
    summary: dict[str, Any] = json.loads(done.stdout)
    return summary


def row(summary: dict[str, Any]) -> list[str]:
    before, after = summary["reward_before"], summary["reward_after"]
    return [
        summary["arm"],
        str(summary["seed"]),
        f"{before:.3f}",
        f"{after:.3f}",
        f"{after - before:+.3f}",
        f"{summary['greedy_before']:.3f}",
        f"{summary['greedy_after']:.3f}",
        f"{summary['seconds']:.0f}",
        f"{summary['cpu_seconds']:.0f}",
        f"{summary['peak_memory_mb']:.0f}",
    ]


if __name__ == "__main__":
    main()
