"""`palaestra reverify`: a stored run graded again, and what that changes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from palaestra.options import json_option, parse_pairs, paths_option, print_json, print_table
from palaestra.stored import Place, place_options

if TYPE_CHECKING:
    from gym_core.client import Client


@click.command("reverify")
@click.argument("run")
@click.option("--env", "environment", help="rollouts of this environment only")
@click.option(
    "--grading", type=click.Choice(["strict", "published"]), help="[default: the one each verdict was given by]"
)
@click.option(
    "--url", "urls", multiple=True, metavar="NAME=URL", help="a running environment service  [default: in this process]"
)
@click.option(
    "--rows", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="task rows, JSONL, by task id"
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, path_type=Path),
    help="TOML with a [judge]",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="a line of JSON for each rollout")
@click.option("--limit", default=20, show_default=True, help="changed verdicts shown in the table")
@click.option("--exit-code", is_flag=True, help="end with 1 where a verdict changed")
@paths_option
@place_options
@json_option
def command(
    run: str,
    environment: str | None,
    grading: str | None,
    urls: tuple[str, ...],
    rows: Path | None,
    config_file: Path | None,
    output: Path | None,
    limit: int,
    exit_code: bool,
    paths: tuple[Path, ...],
    place: Place,
    as_json: bool,
) -> None:
    """Grade the stored rollouts of a run again, with the verifiers of now or of a running service, and compare.

    Tool calls are made again in fresh sessions. What is stored is not touched. Exit code 3 where some rollouts could
    not be graded.
    """
    from palaestra.reverify import summary

    services = _Services(parse_pairs(urls, "--url"), paths, config_file)
    results = asyncio.run(_reverify(run, environment, grading, services, rows, place, as_json))
    if output is not None:
        output.write_bytes(b"".join(msgspec.json.encode(one) + b"\n" for one in results))
    told = summary(results)
    changed = [one for one in results if one.changed]
    failed = [one for one in results if one.error]
    if as_json:
        print_json({"run_id": run, "environments": told, "changed": changed, "failed": failed})
    else:
        _show(told, changed, failed, limit)
    if failed:
        raise SystemExit(3)
    if exit_code and changed:
        raise SystemExit(1)


async def _reverify(
    run: str,
    environment: str | None,
    grading: str | None,
    services: _Services,
    rows: Path | None,
    place: Place,
    quiet: bool,
) -> list[Any]:
    from gym_core.contracts import Grading
    from palaestra.progress import bar
    from palaestra.reverify import Regrader

    async with AsyncExitStack() as stack:
        store, run_id = await stack.enter_async_context(place.run(run))
        names = {total.environment for total in await store.totals(run_id) if total.rewarded}
        names &= {environment} if environment else names
        clients = await services.open(sorted(names), stack)
        regrader = Regrader(clients, grading=Grading(grading) if grading else None, rows=_rows(rows))
        stack.push_async_callback(regrader.close)
        total = sum(one.rewarded for one in await store.totals(run_id) if one.environment in names)
        with bar("rollouts", total, quiet) as advance:
            return await regrader.run(store, run_id, environment, advance)


@dataclass(slots=True, frozen=True)
class _Services:
    """Where verdicts come from: services that were named, for all others one in this process."""

    urls: dict[str, str]
    paths: tuple[Path, ...]
    config_file: Path | None

    async def open(self, names: list[str], stack: AsyncExitStack) -> dict[str, Client]:
        """A client for each environment."""
        from gym_core.config import load
        from gym_core.judge.config import JudgeConfig
        from gym_core.registry import Registry
        from gym_core.serve import start
        from gym_core.server import build_app
        from palaestra.house import connect

        clients = {name: connect(self.urls[name]) for name in names if name in self.urls}
        here = [name for name in names if name not in self.urls]
        if here:
            registry = Registry.discover(self.paths)
            judge = load(JudgeConfig, file=self.config_file, section="judge")
            app = build_app([registry.load(name) for name in here], judge=judge)
            served = await stack.enter_async_context(await start(app))
            clients |= {name: connect(f"{served.url}/{name}") for name in here}
        return clients


def _rows(path: Path | None) -> dict[str, dict[str, Any]]:
    """Rows of a file by the id of their task."""
    from gym_core.contracts import Task
    from palaestra.collection import read_rows

    return {} if path is None else {Task.from_row(row).task_id: row for row in read_rows(path).values()}


def _show(told: dict[str, Any], changed: list[Any], failed: list[Any], limit: int) -> None:
    rows = [{"environment": name, **numbers} for name, numbers in told.items()]
    print_table(list(rows[0]) if rows else ["environment"], rows)
    click.echo(f"{len(changed)} verdicts changed")
    shown = [
        {
            "rollout": one.rollout_id,
            "stored": one.stored_reward,
            "now": one.reward,
            "version": f"{one.stored_version} → {one.version}",
            "diverged": one.diverged,
        }
        for one in changed[:limit]
    ]
    if shown:
        print_table(list(shown[0]), shown)
    if failed:
        click.secho(f"{len(failed)} could not be graded: {failed[0].error}", fg="yellow", err=True)
