"""`palaestra runs`: what is stored."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from palaestra.options import json_option, print_json, print_table


@click.command("runs")
@click.argument("run_id", required=False)
@click.option(
    "--runs-dir", default="runs", show_default=True, type=click.Path(path_type=Path), help="where runs are kept"
)
@json_option
def command(run_id: str | None, runs_dir: Path, as_json: bool) -> None:
    """List the runs kept under a folder, or show the summary of one."""
    from gym_core.errors import UnknownName

    found = sorted(runs_dir.glob("*/store.db"))
    if run_id is not None:
        found = [path for path in found if path.parent.name == run_id]
        if not found:
            raise UnknownName(f"no run {run_id!r} under {runs_dir}", field="run_id", hint="`palaestra runs` lists them")
    rows = [row for path in found for row in asyncio.run(_runs(path))]
    if as_json:
        print_json(rows)
        return
    print_table(["run_id", "kind", "arm", "seed", "status", "rollouts", "reward_before", "reward_after"], rows)


async def _runs(path: Path) -> list[dict[str, Any]]:
    from gym_core.store import Store

    store = await Store.open(str(path), create=False)
    try:
        rows = []
        for run in await store.runs():
            summary = run.summary or {}
            rows.append(
                {
                    "run_id": run.run_id,
                    "kind": run.kind,
                    "arm": run.arm,
                    "seed": run.seed,
                    "status": run.status,
                    "rollouts": await store.count_rollouts(run.run_id),
                    "reward_before": summary.get("reward_before"),
                    "reward_after": summary.get("reward_after"),
                }
            )
        return rows
    finally:
        await store.close()
