"""Group relative length control against none, in paired seeds: what length it takes away, and what reward it costs.

The policy is warm-started on demonstrations that ramble: up to six idle sentences before the answer, be it right or
wrong, so that length says nothing about reward and there is something to take away. From that one checkpoint each arm
trains on the same tasks with the same seeds:

    off        λ = 0
    grlc       λ = β = 0.5 on the answer span, as published (eqs. 4-6); nobody here thinks
    sign_safe  the same coefficients in the form that turns no advantage's sign

Per seed and arm: held-out reward and tokens before and after. Then, over seeds, the difference to `off` with its 95 %
interval (paired t). `--quick` plays two seeds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from support.paired import interval, play, sampled_lengths

from gym_core.registry import Registry
from gym_core.seeds import derive, rng
from model.tokenizer import Tokenizer
from palaestra import demonstrations
from palaestra.placed import place_learner
from trainer.config import LengthRecipe, Recipe, load_recipe
from trainer.placement import LocalPlacement
from trainer.sft import read_demonstrations, warm_start

ENVIRONMENT = "math"
ARMS = {
    "off": LengthRecipe(),
    "grlc": LengthRecipe(answer=0.5, answer_bonus=0.5),
    "sign_safe": LengthRecipe(answer=0.5, answer_bonus=0.5, sign_safe=True),
}
IDLE = (
    "Let me look at it.",
    "One thing after the other.",
    "There is no hurry.",
    "I read it again.",
    "So far it is clear.",
    "That should be it.",
    "Now for the answer.",
    "I think about it once more.",
)
MOST_IDLE = 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="two seeds")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--arms", default=",".join(ARMS))
    options = parser.parse_args()
    arms = options.arms.split(",")
    rows = []
    for seed in range(2 if options.quick else options.seeds):
        with tempfile.TemporaryDirectory() as folder:
            rows += seed_rows(recipe(seed, options.steps), arms, Path(folder))
    found = {"steps": options.steps, "rows": rows, "against_off": compared(rows, [a for a in arms if a != "off"])}
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        show(found)


def recipe(seed: int, steps: int) -> Recipe:
    return load_recipe(
        "ci",
        {
            "seed": seed,
            "environments": {ENVIRONMENT: {"tasks": 256, "demonstrations": 800}},
            "sft.lessons": 0,
            "sft.steps": 200,
            "grpo.steps": steps,
            "grpo.prompts_per_step": 16,
            "grpo.max_output_tokens": 96,
            "eval.tasks": 384,
        },
    )


def seed_rows(base: Recipe, arms: list[str], folder: Path) -> list[dict[str, Any]]:
    """One warm start, then every arm from it."""
    checkpoint = rambling_policy(base, folder)
    rows = []
    for arm in arms:
        run = msgspec.structs.replace(base, checkpoint=str(checkpoint), length=ARMS[arm])
        told = play(run, folder / "runs", f"seed {base.seed}, {arm}")
        lengths = {when: sampled_lengths(Path(told["run"]), f"eval-{when}") for when in ("before", "after")}
        rows.append(
            {
                "seed": base.seed,
                "arm": arm,
                "reward_before": told["reward_before"],
                "reward": told["reward_after"],
                "tokens_before": round(statistics.fmean(lengths["before"]), 2),
                "tokens": round(statistics.fmean(lengths["after"]), 2),
                "seconds": round(told["seconds"], 1),
            }
        )
    return rows


def rambling_policy(base: Recipe, folder: Path) -> Path:
    """A checkpoint warm-started on demonstrations with idle sentences in front, half as often wrong."""
    played = list(rambling(base))
    tokenizer = Tokenizer.train(demonstrations.corpus(played), base.vocab_size)
    tokenizer.save(folder / "tokenizer")
    demonstrations.write(folder / "demonstrations.jsonl", played, tokenizer)
    checkpoint = folder / "policy"

    async def learn() -> None:
        placement = LocalPlacement()
        learner = await placement.place(place_learner, base, tokenizer.vocab_size, 1)
        await warm_start(learner, read_demonstrations(folder / "demonstrations.jsonl"), base.sft, seed=base.seed)
        await learner.call("save_model", str(checkpoint), str(folder / "tokenizer"))
        await placement.close()

    asyncio.run(learn())
    return checkpoint


def rambling(base: Recipe) -> Iterator[demonstrations.Demonstration]:
    environment = Registry.discover().load(ENVIRONMENT).cls()
    count = base.environments[ENVIRONMENT].demonstrations
    seed = derive(base.seed, "rambling")
    draw = rng(base.seed, "idle")
    for played in demonstrations.demonstrate(
        environment, seed=seed, level=0, tasks=count, error_rate=base.sft.error_rate / 2
    ):
        idle = " ".join(draw.choices(IDLE, k=draw.randint(0, MOST_IDLE)))
        for item in played.output:
            for part in item.get("content", []):
                part["text"] = f"{idle} {part['text']}".strip()
        yield played


def compared(rows: list[dict[str, Any]], arms: list[str]) -> dict[str, Any]:
    """Over seeds: reward minus that of `off`, and the share of its tokens that is gone, each with its interval."""
    found = {}
    off = {row["seed"]: row for row in rows if row["arm"] == "off"}
    for arm in arms:
        pairs = [(row, off[row["seed"]]) for row in rows if row["arm"] == arm and row["seed"] in off]
        if pairs:
            found[arm] = {
                "reward": interval([row["reward"] - other["reward"] for row, other in pairs]),
                "shorter": interval([1 - row["tokens"] / other["tokens"] for row, other in pairs]),
                "seeds": len(pairs),
            }
    return found


def show(found: dict[str, Any]) -> None:
    print(f"{'seed':>4} {'arm':10}{'reward':>17}{'tokens':>17}{'seconds':>9}")
    for row in found["rows"]:
        reward = f"{row['reward_before']:.3f} → {row['reward']:.3f}"
        tokens = f"{row['tokens_before']:.1f} → {row['tokens']:.1f}"
        print(f"{row['seed']:>4} {row['arm']:10}{reward:>17}{tokens:>17}{row['seconds']:>9.1f}")
    for arm, told in found["against_off"].items():
        bounds = {
            name: f"{told[name]['mean']:+.3f} [{told[name].get('low', float('nan')):+.3f}, "
            f"{told[name].get('high', float('nan')):+.3f}]"
            for name in ("reward", "shorter")
        }
        print(f"{arm} against off: reward {bounds['reward']}, shorter by {bounds['shorter']} of the tokens")


if __name__ == "__main__":
    main()
