"""`palaestra runs prune`: retention."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import click
import msgspec

from palaestra.options import json_option, print_json, print_table
from palaestra.stored import Place, place_options

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class Age(click.ParamType):
    """A span of time such as 30d or 12h, in seconds."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", value)
        if match is None:
            self.fail(f"{value!r} is no age; write 30d, 12h, 90m, 45s or 2w", param, ctx)
        return float(match[1]) * UNITS[match[2]]


@click.command("prune")
@click.option("--keep-last", type=click.IntRange(0), metavar="N", help="the N runs that ended last stay")
@click.option("--older-than", type=Age(), metavar="AGE", help="only runs that ended this long ago: 30d, 12h, 90m")
@click.option("--dry-run", is_flag=True, help="only say what would go")
@place_options
@json_option
def command(keep_last: int | None, older_than: float | None, dry_run: bool, place: Place, as_json: bool) -> None:
    """Forget the rollouts of old runs and free their tokens. Runs keep their summary and metrics; one that is still
    running keeps everything.

    With both rules, only what both let go is forgotten. The rules look at all stores together.
    """
    if keep_last is None and older_than is None:
        raise click.UsageError("say what may go: --keep-last N, --older-than AGE, or both")
    rows = asyncio.run(_prune(place, keep_last, older_than, dry_run))
    if as_json:
        print_json(rows)
        return
    print_table(["run_id", "rollouts", "bytes_freed", "store"], rows)
    if dry_run:
        click.echo("nothing was touched")


async def _prune(place: Place, keep_last: int | None, older_than: float | None, dry: bool) -> list[dict[str, Any]]:
    from contextlib import AsyncExitStack

    from gym_core.store import Store
    from gym_core.store.prune import choose

    rows: list[dict[str, Any]] = []
    async with AsyncExitStack() as stack:
        stores = [await stack.enter_async_context(await Store.open(address, create=False)) for address in place.some()]
        known = [(store, await store.runs(), await store.played()) for store in stores]
        chosen = set(
            choose(
                [run for _, runs, _ in known for run in runs],
                [one for _, _, played in known for one in played],
                keep_last=keep_last,
                older_than_s=older_than,
            )
        )
        for store, _, played in known:
            mine = [one for one in played if one.run_id in chosen]
            freed = None
            if mine and not dry:
                freed = msgspec.to_builtins(await store.prune([one.run_id for one in mine]))["bytes_freed"]
            for number, one in enumerate(mine):
                told = {"run_id": one.run_id, "rollouts": one.rollouts, "store": store.name}
                rows.append({**told, "bytes_freed": freed if number == 0 else None})
    return rows
