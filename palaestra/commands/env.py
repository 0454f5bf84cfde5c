"""`palaestra env`: writing environments, seeing which there are, serving and checking them, looking at their tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from palaestra.commands.env_check import check
from palaestra.commands.env_new import new
from palaestra.commands.env_serve import serve
from palaestra.options import json_option, paths_option, print_json


@click.group("env")
def command() -> None:
    """Write, list, serve and check environments; print their tasks."""


@command.command("list")
@paths_option
@json_option
def list_(paths: tuple[Path, ...], as_json: bool) -> None:
    """Every environment that can be found, with what it asks of a policy; a broken one with its error."""
    from gym_core.registry import Registry

    registry = Registry.discover(paths)
    rows = [_described(registry, name) for name in registry.names()]
    rows += [{"name": name, "error": why} for name, why in sorted(registry.broken.items())]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        _show(row)


def _described(registry: Any, name: str) -> dict[str, Any]:
    """What manifest and class say; with `error` alone beside the manifest where the class does not load."""
    from gym_core.errors import PalaestraError

    manifest = registry.manifest(name)
    row: dict[str, Any] = {
        "name": name,
        "version": manifest.version,
        "description": manifest.description,
        "licence": manifest.licence,
        "rows": manifest.rows,
        "aliases": manifest.aliases,
        "network": manifest.network,
    }
    try:
        environment = registry.load(name).cls
    except PalaestraError as error:
        return {**row, "error": error.message}
    group = environment.overrides("verify_group")
    judged = environment.overrides("judge_group" if group else "judge")
    publishes = environment.overrides("verify_group_published" if group else "verify_published")
    return {
        **row,
        "version": environment.version,
        "levels": list(environment.levels) if environment.overrides("make") else [],
        "tools": list(environment.tool_specs()),
        "gradings": ["strict", "published"] if publishes else ["strict"],
        "verdict": "group" if group else "rollout",
        "judge": "needed" if environment.needs_judge else "optional" if judged else "none",
        "sessions": environment.keeps_sessions(),
        "max_steps": environment.max_steps,
        "reward_range": list(environment.reward_range),
        "error": None,
    }


def _show(row: dict[str, Any]) -> None:
    """One environment in a few lines."""
    if row.get("error"):
        click.echo(f"{click.style(row['name'], bold=True)}  {click.style('broken', fg='red')}: {row['error']}")
        return
    levels = row["levels"]
    facts = [f"levels {levels[0]}–{levels[-1]}" if levels else "rows from outside only", " and ".join(row["gradings"])]
    facts += ["judged in groups"] if row["verdict"] == "group" else []
    facts += [f"judge {row['judge']}"] if row["judge"] != "none" else []
    facts += ["network"] if row["network"] != "none" else []
    click.echo(f"{click.style(row['name'], bold=True)} {row['version']}  {' · '.join(facts)}\n  {row['description']}")
    for what in ("tools", "rows"):
        if row[what]:
            click.echo(f"  {what}: {', '.join(row[what])}")


@command.command("tasks")
@click.argument("name")
@click.option("--level", default=0, show_default=True, help="difficulty")
@click.option("--count", default=3, show_default=True, help="how many")
@click.option("--seed", default=0, show_default=True, help="seed of the generator")
@click.option("--split", default="train", show_default=True, type=click.Choice(["train", "heldout"]))
@paths_option
def tasks(name: str, level: int, count: int, seed: int, split: str, paths: tuple[Path, ...]) -> None:
    """Print generated tasks of NAME (or a path) as rows (JSON lines): what the policy sees, hidden fields left out."""
    from gym_core.generate import make_tasks
    from palaestra.commands.env_target import find

    registry, names = find(name, paths)
    environment = registry.load(names[0]).cls()
    for task in make_tasks(environment, seed=seed, level=level, count=count, split=split):
        click.echo(msgspec.json.encode(task.to_row()))


for _command in (new, serve, check):
    command.add_command(_command)
