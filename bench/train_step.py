"""One GRPO step by stage, beside TRL's GRPOTrainer: the same tiny hybrid, the same prompts, one run on one machine.

Ours is a whole run in one process tree: environments and agent server over HTTP, embedded engine, learner. TRL samples
with transformers and asks the same environments for its rewards. Both start from one warm-started checkpoint, play
`prompts x group` answers a step and make one optimizer step of them, in fp32. TRL runs with one and with two threads
and with the whole batch at once or in four parts; its fastest form counts. The first `WARM` steps are left out.
Mixes: `short`, math with its answers of a few tokens; `mixed`, three environments whose answers are as long as the
demo's; `long`, math by a policy that has hardly been warmed, whose answers run to the limit of tokens.

    python bench/train_step.py --setup-trl     TRL in an environment of its own (scripts/peers.py trl)
    python bench/train_step.py --json
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from support.servers import start

ROOT = Path(__file__).resolve().parent.parent
PEERS = Path(os.environ.get("PALAESTRA_PEERS") or Path.home() / ".cache" / "palaestra" / "peers")
"""As in scripts/peers.py, which makes them."""
STAGES = ("generation_time", "policy_training_time", "weight_sync_time", "total_step_time")
TASKS, WARM = 256, 2
MIXES = {"short": ("math",), "mixed": ("math", "structured_outputs", "instruction_following"), "long": ("math",)}
HARDLY_WARMED = {"sft.lessons": 0, "sft.steps": 2}
FORMS = [(threads, accumulate) for threads in (1, 2) for accumulate in (1, 4)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quick", action="store_true", help="few steps, one form of TRL")
    parser.add_argument("--setup-trl", action="store_true", help="install TRL (`python scripts/peers.py trl`)")
    parser.add_argument("--trl-python", default=str(PEERS / "trl" / "bin" / "python"), help="a Python that has TRL")
    parser.add_argument("--mixes", default=",".join(MIXES))
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--max-output", type=int, default=64)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    if options.setup_trl:
        raise SystemExit(subprocess.run([sys.executable, ROOT / "scripts" / "peers.py", "trl"], check=False).returncode)
    if options.quick:
        options.steps = 5
    found = {}
    for mix in options.mixes.split(","):
        with tempfile.TemporaryDirectory() as folder:
            found[mix] = measure(options, mix, Path(folder))
        if not options.json:
            show(mix, found[mix])
    if options.json:
        print(json.dumps(found, indent=1))


def measure(options: argparse.Namespace, mix: str, folder: Path) -> dict[str, Any]:
    """`ours`, `trl` (or why it was skipped) and their `ratio` of step rates; every step's seconds are in it."""
    ours = our_steps(options, mix, folder)
    found: dict[str, Any] = {
        "prompts": options.prompts,
        "group": options.group,
        "max_output": options.max_output,
        "ours": ours,
    }
    if not Path(options.trl_python).is_file():
        return found | {"trl": {"skipped": "no TRL here; `python bench/train_step.py --setup-trl` installs it"}}
    forms = FORMS[:1] if options.quick else FORMS
    server = start("environments", ["-m", "palaestra", "env", "serve", *MIXES[mix]])
    try:
        job = {"checkpoint": ours["checkpoint"], "environments": server.url, "rows": prompts(server.url, MIXES[mix])}
        tried = [trl_steps(options, folder, job, *form) for form in forms]
    finally:
        server.stop()
    best = min(tried, key=lambda form: form["step_s"])
    ours.pop("checkpoint")
    return found | {
        "trl": best,
        "trl_forms": {f"threads {one['threads']}, parts {one['accumulate']}": one["step_s"] for one in tried},
        "ratio": round(best["step_s"] / ours["step_s"], 2),
        "ratio_tokens_per_s": round(ours["tokens_per_s"] / best["tokens_per_s"], 2),
    }


def our_steps(options: argparse.Namespace, mix: str, folder: Path) -> dict[str, Any]:
    """Median seconds by stage over the steps of a run, with what it cost in CPU and memory."""
    from gym_core.store import Store
    from palaestra.live import PlainView
    from palaestra.meter import Meter
    from palaestra.training import train
    from trainer.config import load_recipe

    recipe = load_recipe(
        "ci",
        {
            "environments": {name: {"tasks": TASKS, "demonstrations": 500} for name in MIXES[mix]},
            "grpo.prompts_per_step": options.prompts,
            "grpo.group_size": options.group,
            "grpo.minibatches": 1,
            "grpo.max_output_tokens": options.max_output,
            "grpo.steps": options.steps,
            "eval.tasks": 8,
            **(HARDLY_WARMED if mix == "long" else {}),
        },
    )
    meter = Meter().start()
    sys.stderr.write("ours …\n")
    view = PlainView(meter, "bench")
    summary = asyncio.run(train(recipe, runs_dir=folder / "runs", view=view, meter=meter, local=True))
    meter.stop()
    run = folder / "runs" / summary["run_id"]

    async def metrics() -> list[tuple[int, dict[str, float]]]:
        async with await Store.open(str(run / "store.db"), create=False) as store:
            return [(step, values) for step, values in await store.metrics(run.name) if step >= 0]

    steps = [values for step, values in asyncio.run(metrics()) if step >= WARM and STAGES[-1] in values]
    stages = {name: round(statistics.median(values[name] for values in steps), 4) for name in STAGES}
    tokens = statistics.median(values["sampled_tokens"] for values in steps)
    return {
        "step_s": stages[STAGES[-1]],
        "stages_s": stages,
        "step_seconds": [round(values[STAGES[-1]], 4) for values in steps],
        "tokens_per_step": tokens,
        "tokens_per_s": round(tokens / stages[STAGES[-1]], 1),
        "cpu_s_per_step": round(summary["phases"]["train"]["cpu_seconds"] / options.steps, 3),
        "peak_memory_mb": summary["peak_memory_mb"],
        "checkpoint": str(run / "before"),
    }


def trl_steps(
    options: argparse.Namespace, folder: Path, job: dict[str, Any], threads: int, accumulate: int
) -> dict[str, Any]:
    """The same for one form of TRL, in a process of its own."""
    sys.stderr.write(f"TRL, {threads} thread(s), {accumulate} part(s) …\n")
    job = job | {
        "prompts": options.prompts,
        "group": options.group,
        "steps": options.steps,
        "max_output": options.max_output,
        "lr": 1e-3,
        "threads": threads,
        "accumulate": accumulate,
        "output": str(folder / "trl"),
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    environ = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [options.trl_python, str(ROOT / "bench" / "support" / "trl_steps.py"), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ, cwd=folder)
    if done.returncode:
        raise SystemExit(f"TRL failed:\n{done.stderr[-4000:]}")
    told = json.loads(done.stdout.strip().splitlines()[-1])
    seconds = told["step_seconds"][WARM:]
    step_s = statistics.median(seconds)
    tokens = statistics.median(told["completion_tokens"][WARM:])
    return {
        "version": told["version"],
        "threads": threads,
        "accumulate": accumulate,
        "step_s": round(step_s, 4),
        "step_seconds": [round(took, 4) for took in seconds],
        "tokens_per_step": tokens,
        "tokens_per_s": round(tokens / step_s, 1),
        "cpu_s_per_step": round(statistics.median(told["cpu_seconds"][WARM:]), 3),
        "peak_memory_mb": told["peak_memory_mb"],
        "rewards": [round(reward, 3) for reward in told["rewards"]],
    }


def prompts(url: str, mix: tuple[str, ...]) -> list[dict[str, Any]]:
    """Tasks of the pools that ours trains on, environments in turn: messages, and the row for the verdict."""
    import urllib.request

    drawn = []
    for name in mix:
        asked = json.dumps({"seed": 0, "level": 0, "count": TASKS}).encode()
        request = urllib.request.Request(f"{url}/{name}/tasks", asked, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as reply:
            drawn.append(json.load(reply)["tasks"])
    return [
        {"messages": row["responses_create_params"]["input"], "row": json.dumps({"environment": name, **row})}
        for rows in zip(*drawn, strict=True)
        for name, row in zip(mix, rows, strict=True)
    ]


def show(mix: str, found: dict[str, Any]) -> None:
    print(f"{mix}: {', '.join(MIXES[mix])}")
    ours, trl = found["ours"], found["trl"]
    for stage, took in ours["stages_s"].items():
        print(f"ours  {stage:24}{took:>9.3f} s")
    for name, side in (("ours", ours), ("TRL", trl)):
        if "skipped" in side:
            print(f"{name:5} skipped: {side['skipped']}")
            continue
        print(
            f"{name:5} {side['step_s']:>8.3f} s/step  {side['tokens_per_s']:>9.1f} tokens/s  "
            f"{side['cpu_s_per_step']:>7.2f} CPU-s/step  {side['peak_memory_mb']:>7.0f} MB"
        )
    if "ratio" in found:
        print(f"ours makes {found['ratio']} times the steps, {found['ratio_tokens_per_s']} times the tokens a second")


if __name__ == "__main__":
    main()
