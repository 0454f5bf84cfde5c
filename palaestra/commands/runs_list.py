"""`palaestra runs list`: every run of every store, also those that nobody registered."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from palaestra.options import json_option, print_json, print_table
from palaestra.stored import Place, place_options

COLUMNS = ["run_id", "kind", "arm", "seed", "status", "rollouts", "reward_before", "reward_after"]


@click.command("list")
@place_options
@json_option
def command(place: Place, as_json: bool) -> None:
    """List stored runs, store by store, oldest first."""
    rows = asyncio.run(_rows(place))
    if as_json:
        print_json(rows)
        return
    print_table(COLUMNS, rows)


async def _rows(place: Place) -> list[dict[str, Any]]:
    from gym_core.store import Store

    rows = []
    for address in place.addresses():
        async with await Store.open(address, create=False) as store:
            played = {one.run_id: one for one in await store.played()}
            for run in await store.runs():
                count = played.pop(run.run_id).rollouts if run.run_id in played else 0
                rows.append(
                    {
                        "run_id": run.run_id,
                        "kind": run.kind,
                        "arm": run.arm,
                        "seed": run.seed,
                        "status": run.status,
                        "rollouts": count,
                        "reward_before": run.summary.get("reward_before"),
                        "reward_after": run.summary.get("reward_after"),
                        "created_at": run.created_at,
                        "finished_at": run.finished_at,
                        "store": store.name,
                    }
                )
            rows += [
                {
                    "run_id": one.run_id,
                    "kind": "",
                    "status": "",
                    "rollouts": one.rollouts,
                    "created_at": one.first_at,
                    "finished_at": one.last_at,
                    "store": store.name,
                }
                for one in played.values()
            ]
    return rows
