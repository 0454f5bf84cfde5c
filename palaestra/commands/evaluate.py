"""`palaestra eval`: a checkpoint's held-out rewards, computed again."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from palaestra.options import json_option, print_json, print_table


@click.command("eval")
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@json_option
def command(checkpoint: Path, as_json: bool) -> None:
    """Score a run's checkpoint on the held-out tasks of its recipe, and compare with what the run reported."""
    from palaestra.heldout import score_checkpoint

    record, found = asyncio.run(score_checkpoint(checkpoint))
    rows: list[dict[str, Any]] = []
    for kind, evaluation in found.items():
        told = record.evaluation.get(kind)
        for name, result in evaluation.environments.items():
            rows.append(
                {
                    "environment": name,
                    "decoding": kind,
                    "reward": result.mean,
                    "±": result.standard_error,
                    "reported": None if told is None else told.environments[name].mean,
                    "tasks": result.num_tasks,
                    "failed": result.num_failed,
                }
            )
    if as_json:
        print_json({"run_id": record.run_id, "name": record.name, "rows": rows, "mean": found["sampled"].mean})
        return
    columns = ["environment", "decoding", "reward", "±", "reported", "tasks", "failed"]
    print_table(columns, rows, title=f"{record.run_id}, {record.name}: mean reward {found['sampled'].mean:.3f}")
