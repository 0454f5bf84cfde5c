"""`palaestra env`: what environments there are, serving them, and looking at their tasks."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from palaestra.options import json_option, listen_options, paths_option, print_json, print_table


@click.group("env")
def command() -> None:
    """List, serve and sample environments."""


@command.command("list")
@paths_option
@json_option
def list_(paths: tuple[Path, ...], as_json: bool) -> None:
    """Every environment that can be found, with what it asks of a policy."""
    from gym_core.registry import Registry

    registry = Registry.discover(paths)
    rows = []
    for name in registry.names():
        manifest = registry.manifest(name)
        rows.append(
            {
                "name": name,
                "version": manifest.version,
                "description": manifest.description,
                "rows": manifest.rows,
                "network": manifest.network,
            }
        )
    if as_json:
        print_json(rows)
        return
    print_table(["name", "version", "rows", "description"], rows)


@command.command("tasks")
@click.argument("name")
@click.option("--level", default=0, show_default=True, help="difficulty")
@click.option("--count", default=3, show_default=True, help="how many")
@click.option("--seed", default=0, show_default=True, help="seed of the generator")
@click.option("--split", default="train", show_default=True, type=click.Choice(["train", "heldout"]))
@paths_option
def tasks(name: str, level: int, count: int, seed: int, split: str, paths: tuple[Path, ...]) -> None:
    """Print generated tasks as rows (JSON lines): what the policy sees, hidden fields left out."""
    from gym_core.generate import make_tasks
    from gym_core.registry import Registry

    environment = Registry.discover(paths).load(name).cls()
    for task in make_tasks(environment, seed=seed, level=level, count=count, split=split):
        click.echo(msgspec.json.encode(task.to_row()))


@command.command("serve")
@click.argument("names", nargs=-1)
@paths_option
@listen_options
@click.option(
    "--workers", type=click.IntRange(1), help="worker processes per environment that needs them  [default: 1]"
)
@click.option("--config", "config_file", type=click.Path(exists=True, path_type=Path), help="TOML with [environments]")
def serve(
    names: tuple[str, ...],
    paths: tuple[Path, ...],
    host: str,
    port: int,
    parent_pid: int | None,
    workers: int | None,
    config_file: Path | None,
) -> None:
    """Serve environments over HTTP (all of them where none is named), each under /NAME."""
    from gym_core import auth
    from gym_core.config import load
    from gym_core.registry import Registry
    from gym_core.serve import run
    from gym_core.server import EnvironmentServiceConfig, build_app

    registry = Registry.discover(paths)
    loaded = [registry.load(name) for name in (names or registry.names())]
    token = auth.secret()
    overrides: dict[str, object] = {"token": token} if token else {}
    if workers is not None:
        overrides["workers"] = workers
    app = build_app(
        loaded, load(EnvironmentServiceConfig, file=config_file, section="environments", overrides=overrides)
    )
    run(app, host=host, port=port, token=token, parent_pid=parent_pid)
