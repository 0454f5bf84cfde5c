"""`palaestra show`: a run in numbers, or a rollout as it was spoken."""

from __future__ import annotations

import asyncio
from typing import Any

import click

from palaestra.options import json_option, print_json, print_table
from palaestra.stored import Place, place_options


@click.command("show")
@click.argument("name", metavar="RUN|ROLLOUT")
@place_options
@json_option
def command(name: str, place: Place, as_json: bool) -> None:
    """Show a stored run or a stored rollout, by id; a run also by its folder."""
    found = asyncio.run(_find(name, place))
    if isinstance(found, dict):
        print_json(found) if as_json else _show_run(found)
        return
    from palaestra.rollout_view import rollout_data, rollout_lines

    if as_json:
        print_json(rollout_data(found))
        return
    for line in rollout_lines(found):
        click.echo(line)


async def _find(name: str, place: Place) -> Any:
    """A run's numbers, or a `Stored` rollout. Raises `UnknownName` where there is neither."""
    from gym_core.errors import UnknownName
    from palaestra.run_view import run_view

    try:
        async with place.run(name) as (store, run_id):
            return await run_view(store, run_id)
    except UnknownName as error:
        found = await place.rollout(name)
        if found is None:
            raise UnknownName(
                f"{error.message}, and no rollout of that id", field="run_id", hint="`palaestra runs` lists the runs"
            ) from None
        return found


def _show_run(view: dict[str, Any]) -> None:
    told = [str(view[name]) for name in ("kind", "arm", "status") if view.get(name)]
    click.echo(f"{view['run_id']}  {' '.join(told)}  {view['rollouts']} rollouts in {view['store']}")
    rows = [
        {
            "environment": name,
            **{key: numbers[key] for key in ("rollouts", "mean_reward", "mean_turns", "mean_tool_calls")},
            "tokens": numbers["mean_output_tokens"],
            "outcomes": [f"{outcome} {count}" for outcome, count in numbers["outcomes"].items()],
        }
        for name, numbers in view["environments"].items()
    ]
    if rows:
        print_table(list(rows[0]), rows)
    for name, value in view.get("summary", {}).items():
        if isinstance(value, int | float | str):
            click.echo(f"{name}: {value}")
