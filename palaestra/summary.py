"""The end of a run: `summary.json`, the report, and the table on the terminal, all from the same numbers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from gym_core.contracts import Rollout
from gym_core.reply import message_text
from palaestra.options import print_table
from palaestra.report import write_report

if TYPE_CHECKING:
    from palaestra.line import Line
    from trainer.evaluate import Evaluation

SAMPLES = 6


async def finish(line: Line, before: Mapping[str, Evaluation], after: Mapping[str, Evaluation]) -> dict[str, Any]:
    """Write summary and report; returns the summary."""
    recipe, folder, meter = line.recipe, line.folder, line.meter
    steps = await line.store.metrics(folder.run_id)
    summary = {
        "run_id": folder.run_id,
        "recipe": recipe.name,
        "arm": recipe.arm,
        "seed": recipe.seed,
        "seconds": round(meter.seconds, 1),
        "cpu_seconds": round(meter.cpu_seconds(), 1),
        "peak_memory_mb": round(meter.peak_memory_mb, 1),
        "reward_before": before["sampled"].mean,
        "reward_after": after["sampled"].mean,
        "greedy_before": before["greedy"].mean,
        "greedy_after": after["greedy"].mean,
        "temperature": recipe.eval.temperature,
        "error_rate": recipe.sft.error_rate,
        "environments": {name: _environment(name, before, after) for name in recipe.environments},
        "token_mult_prob_error_max": max(
            (values["token_mult_prob_error"] for _, values in steps if "token_mult_prob_error" in values), default=None
        ),
        "checkpoint": str(folder.after),
        "phases": line.phases,
        "processes": meter.by_process()[:12],
    }
    folder.write_json("summary.json", summary)
    samples = await _samples(line)
    write_report(folder.path / "report.html", summary, steps, samples, msgspec.to_builtins(recipe))
    return summary


def _environment(name: str, before: Mapping[str, Evaluation], after: Mapping[str, Evaluation]) -> dict[str, Any]:
    first, last = before["sampled"].environments[name], after["sampled"].environments[name]
    return {
        "before": first.mean,
        "before_error": first.standard_error,
        "after": last.mean,
        "after_error": last.standard_error,
        "greedy_before": before["greedy"].environments[name].mean,
        "greedy_after": after["greedy"].environments[name].mean,
        "num_tasks": last.num_tasks,
        "num_failed": first.num_failed + last.num_failed,
    }


async def _samples(line: Line) -> dict[str, list[tuple[str, Rollout]]]:
    """A few held-out rollouts of each environment, before and after."""
    prompts = {row["task_id"]: _prompt(row) for rows in line.heldout_rows.values() for row in rows}
    found: dict[str, list[tuple[str, Rollout]]] = {}
    async for rollout, _ in line.store.iter_rollouts(line.folder.run_id, blobs=False):
        purpose = rollout.labels.get("purpose", "")
        if not purpose.startswith("eval-") or rollout.task_id not in prompts:
            continue
        heading = f"{rollout.environment}, {purpose.split('-')[1]}"
        pairs = found.setdefault(heading, [])
        if len(pairs) < SAMPLES:
            pairs.append((prompts[rollout.task_id], rollout))
    return dict(sorted(found.items()))


def _prompt(row: Mapping[str, Any]) -> str:
    given = row["responses_create_params"]["input"]
    if isinstance(given, str):
        return given
    return "\n".join(f"[{item.get('role')}] {message_text(item)}" for item in given)


def show(summary: Mapping[str, Any], folder: Path) -> None:
    """The table a run ends with, and where everything is."""
    rows = [
        {
            "environment": name,
            "before": score["before"],
            "after": score["after"],
            "±": (score["before_error"] ** 2 + score["after_error"] ** 2) ** 0.5,
            "change": f"{score['after'] - score['before']:+.3f}",
            "greedy": f"{score['greedy_before']:.2f} → {score['greedy_after']:.2f}",
            "tasks": score["num_tasks"],
        }
        for name, score in summary["environments"].items()
    ]
    change = summary["reward_after"] - summary["reward_before"]
    print_table(
        ["environment", "before", "after", "±", "change", "greedy", "tasks"],
        rows,
        title=f"{summary['recipe']} ({summary['arm']}), seed {summary['seed']}: held-out reward"
        f" {summary['reward_before']:.3f} → {summary['reward_after']:.3f} ({change:+.3f})",
    )
    worst = summary["token_mult_prob_error_max"]
    click.echo(
        f"{summary['seconds']:.0f} s, {summary['cpu_seconds']:.0f} CPU-s, {summary['peak_memory_mb']:.0f} MB"
        + ("" if worst is None else f", sampling vs training mismatch at most {worst:.9f}")
    )
    click.echo(f"report:     {folder / 'report.html'}")
    click.echo(f"checkpoint: {summary['checkpoint']}")
    click.echo(f"talk to it: palaestra chat {summary['checkpoint']}")
    click.echo(f"score it:   palaestra eval {summary['checkpoint']}")
    click.echo(f"summary: {folder / 'summary.json'}")
