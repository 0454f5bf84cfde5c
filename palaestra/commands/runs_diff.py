"""`palaestra diff`: two runs, environment by environment, or two rollouts, line by line."""

from __future__ import annotations

import asyncio
import difflib
from typing import Any

import click

from palaestra.options import json_option, print_json, print_table
from palaestra.stored import Place, place_options


@click.command("diff")
@click.argument("first", metavar="RUN|ROLLOUT")
@click.argument("second", metavar="RUN|ROLLOUT")
@click.option("--limit", default=20, show_default=True, help="changed verdicts shown in the table")
@click.option("--exit-code", is_flag=True, help="end with 1 where verdicts, outcomes or texts differ")
@place_options
@json_option
def command(first: str, second: str, limit: int, exit_code: bool, place: Place, as_json: bool) -> None:
    """Compare two runs: reward, outcomes and length of each environment, and every verdict that changed.

    Rollouts are paired by task and repeat. Two rollouts are compared item by item.
    """
    found = asyncio.run(_compare(first, second, place))
    if as_json:
        print_json(found)
    elif "lines" in found:
        click.echo("\n".join(found["lines"]) or "the same")
    else:
        _show(found, limit)
    if exit_code and (found.get("changed") or found.get("lines")):
        raise SystemExit(1)


async def _compare(first: str, second: str, place: Place) -> dict[str, Any]:
    one, other = await place.rollout(first), await place.rollout(second)
    if one is not None and other is not None:
        return _rollouts(one, other)
    from palaestra.run_diff import Side, compare

    sides = []
    for name in (first, second):
        async with place.run(name) as (store, run_id):
            sides.append(await Side().read(rollout async for rollout, _ in store.iter_rollouts(run_id, blobs=False)))
    return {"first": first, "second": second, **compare(*sides)}


def _rollouts(one: Any, other: Any) -> dict[str, Any]:
    from palaestra.rollout_view import rollout_lines

    lines = [list(rollout_lines(side)) for side in (one, other)]
    names = [side.rollout.rollout_id for side in (one, other)]
    # the first two lines name the rollout, its time and its run: those always differ
    old, new = ([line for text in side[2:] for line in text.split("\n")] for side in lines)
    told = list(difflib.unified_diff(old, new, names[0], names[1], lineterm="", n=2))
    rewards = [side.rollout.reward for side in (one, other)]
    return {"first": names[0], "second": names[1], "rewards": rewards, "lines": told}


def _show(found: dict[str, Any], limit: int) -> None:
    rows = []
    for name, numbers in found["environments"].items():
        sides = [numbers[side] or {} for side in ("first", "second")]
        interval = numbers["interval"]
        rows.append(
            {
                "environment": name,
                "rollouts": " → ".join(str(side.get("rollouts", 0)) for side in sides),
                "reward": " → ".join(_number(side.get("mean_reward")) for side in sides),
                "pairs": numbers["pairs"],
                "Δ of pairs": "–" if numbers["delta"] is None else f"{numbers['delta']:+.3f}",
                "95 %": "–" if interval is None else f"{interval[0]:+.3f} … {interval[1]:+.3f}",
                "better/worse": f"{numbers['better']}/{numbers['worse']}",
                "tokens": " → ".join(_number(side.get("mean_output_tokens"), 0) for side in sides),
                "outcomes": " → ".join(_outcomes(side.get("outcomes", {})) for side in sides),
            }
        )
    print_table(list(rows[0]) if rows else ["environment"], rows)
    changed = found["changed"]
    click.echo(f"{len(changed)} verdicts or outcomes changed")
    shown = [
        {
            "environment": one["environment"],
            "task": one["task_id"],
            "repeat": one["repeat"],
            "first": f"{_number(one['first']['reward'])} {one['first']['outcome']}",
            "second": f"{_number(one['second']['reward'])} {one['second']['outcome']}",
        }
        for one in changed[:limit]
    ]
    if shown:
        print_table(list(shown[0]), shown)


def _number(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _outcomes(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "–"
