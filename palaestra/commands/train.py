"""`palaestra train`: a recipe from start to report."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gym_core.errors import BadRequest
from palaestra.options import json_option, parse_overrides, print_json

if TYPE_CHECKING:
    from trainer.config import Recipe


@click.command("train")
@click.option("--recipe", "recipe_name", default="demo", show_default=True, help="a recipe's name, or a TOML file")
@click.option("--seed", type=int, default=None, help="seed of the run (default: the recipe's)")
@click.option(
    "--arm",
    type=click.Choice(["grpo", "sft", "shuffled"]),
    default=None,
    help="grpo, or a control: sft (the same CPU time on more warm start), shuffled (rewards permuted)",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="override a key, such as grpo.steps=20")
@click.option("--runs-dir", default="runs", show_default=True, type=click.Path(path_type=Path))
@click.option("--resume", type=click.Path(exists=True, path_type=Path), help="the folder of a run to go on with")
@click.option(
    "--replay", "replayed", type=click.IntRange(0), help="with --resume: do this step again, offline, and compare"
)
@click.option("--continue", "go_on", is_flag=True, help="resume the newest unfinished run of the recipe, if any")
@click.option("--environments", metavar="URL", help="environments that are served already")
@click.option("--agent", metavar="URL", help="an agent server between these environments and this policy")
@click.option("--policy", metavar="URL", help="a policy server that follows DIR/policy.json of --shared")
@click.option("--shared", metavar="DIR", help="a folder that the policy server sees under the same path")
@click.option("--store", metavar="PATH|URL", help="where runs and metrics are kept  [default: in the run's folder]")
@click.option("--dashboard", is_flag=True, help="show the run in a browser while it goes on")
@click.option("--local", is_flag=True, help="learner and policy engine in this process instead of Ray actors")
@json_option
def command(
    recipe_name: str,
    seed: int | None,
    arm: str | None,
    overrides: tuple[str, ...],
    runs_dir: Path,
    resume: Path | None,
    replayed: int | None,
    go_on: bool,
    environments: str | None,
    agent: str | None,
    policy: str | None,
    shared: str | None,
    store: str | None,
    dashboard: bool,
    local: bool,
    as_json: bool,
) -> None:
    """Train a policy: warm start, held-out evaluation, GRPO over HTTP, evaluation, report."""
    from gym_core.config import load
    from palaestra.live import PlainView, view_for
    from palaestra.meter import Meter
    from palaestra.run_folder import RunFolder, unfinished
    from palaestra.services import Services
    from palaestra.summary import show
    from palaestra.training import train
    from trainer.config import load_recipe, parse_recipe

    given = parse_overrides(overrides)
    if resume is not None:
        recipe = parse_recipe(_resumed(RunFolder.existing(resume).read_json("recipe.json"), given), str(resume))
        resume = resume if resume.name not in ("", "..") else resume.resolve()  # it is named by its folder
        runs_dir = resume.parent
    else:
        given |= {name: value for name, value in (("seed", seed), ("arm", arm)) if value is not None}
        recipe = load_recipe(recipe_name, given)
        resume = unfinished(runs_dir, recipe) if go_on else None
    if replayed is not None:
        _replay(resume, recipe, replayed, as_json)
        return
    named = {"environments": environments, "agent": agent, "policy": policy, "shared": shared, "store": store}
    services = load(Services, section="services", overrides=named)
    meter = Meter().start()
    title = f"palaestra train: {recipe.name}, arm {recipe.arm}, seed {recipe.seed}"
    view = PlainView(meter, title) if as_json else view_for(meter, title)
    going = train(recipe, runs_dir=runs_dir, view=view, meter=meter, local=local, resume=resume, services=services)
    with redirect_stdout(sys.stderr) if as_json else nullcontext():  # Ray tells of dead workers on stdout
        summary = asyncio.run(_watched(going, runs_dir) if dashboard else going)
    meter.stop()
    if as_json:
        print_json(summary)
    else:
        show(summary, runs_dir / summary["run_id"])


def _resumed(recipe: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """A run's recipe over other processes. Raises BadRequest for any other change."""
    if strange := sorted(key for key in given if not key.startswith("layout.") and key != "policy.replicas"):
        what = "a run resumes with its own recipe, only `layout` and `policy.replicas` may change"
        raise BadRequest(what, field=strange[0])
    for key, value in given.items():
        table, _, name = key.partition(".")
        recipe[table] = recipe.get(table, {}) | {name: value}
    return recipe


async def _watched(going: Coroutine[Any, Any, dict[str, Any]], runs_dir: Path) -> dict[str, Any]:
    """The run with a dashboard over its folder of runs, which ends with it."""
    from gym_core import auth
    from gym_core.serve import start
    from palaestra.dashboard.app import build_app
    from palaestra.dashboard.library import Library
    from palaestra.dashboard.services import Services

    token = auth.secret()
    app = build_app(Library([runs_dir]), Services({}, token), token=token)
    async with await start(app, token=token) as served:
        click.echo(f"dashboard: {served.url}/dashboard/", err=True)
        return await going


def _replay(run: Path | None, recipe: Recipe, step: int, as_json: bool) -> None:
    """Exit code 1 where a number came out differently."""
    from palaestra.replay import replay_run, show

    if run is None:
        raise BadRequest("`--replay` needs a run", field="replay", hint="palaestra train --resume runs/<id> --replay 3")
    compared = asyncio.run(replay_run(run, recipe, step))
    if as_json:
        print_json([{"name": c.name, "journal": c.journal, "replayed": c.replayed, "same": c.same} for c in compared])
    else:
        show(compared)
    if not all(number.same for number in compared):
        raise SystemExit(1)
