"""`palaestra profile`: how often a checkpoint solves each task that a recipe trains on."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gym_core.errors import BadRequest
from palaestra.options import json_option, parse_overrides, print_json, print_table

if TYPE_CHECKING:
    from trainer.config import Recipe


@click.command("profile")
@click.argument("checkpoint", type=click.Path(exists=True, path_type=Path))
@click.option("--recipe", "recipe_name", default="demo", show_default=True, help="a recipe's name, or a TOML file")
@click.option("--seed", type=int, default=None, help="seed of the pools (default: the recipe's)")
@click.option("--repeats", type=click.IntRange(1), default=None, help="tries per task (default: the recipe's, or 8)")
@click.option(
    "--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="where profiles go, JSONL"
)
@click.option("--resume/--fresh", default=True, show_default=True, help="go on with --output, or begin it anew")
@click.option("--store", default="", metavar="PATH|URL", help="keep the profiles in this store too")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="override a key of the recipe")
@json_option
def command(
    checkpoint: Path,
    recipe_name: str,
    seed: int | None,
    repeats: int | None,
    output: Path,
    resume: bool,
    store: str,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Play every task of a recipe's pools several times with CHECKPOINT, a model or a run's folder.

    `palaestra train --recipe NAME --set grpo.profiles=FILE` begins its curriculum with what comes out.
    """
    from palaestra.collection import check_output
    from trainer.config import load_recipe

    given = parse_overrides(overrides) | ({} if seed is None else {"seed": seed})
    recipe = load_recipe(recipe_name, given)
    check_output(output)
    if not resume:
        output.unlink(missing_ok=True)
    os.environ.setdefault("PALAESTRA_LOG_LEVEL", "ERROR")  # the services' own lines would break the bar
    tries = repeats or recipe.grpo.profile_repeats or 8
    rows = asyncio.run(_profile(checkpoint, recipe, tries, output, store, quiet=as_json))
    if as_json:
        print_json({"output": str(output), "repeats": tries, "environments": rows})
        return
    columns = ["environment", "tasks", "profiled", "pass rate", "always", "never"]
    print_table(columns, rows, title=f"{output}: {tries} tries per task")


async def _profile(
    checkpoint: Path, recipe: Recipe, repeats: int, output: Path, store: str, *, quiet: bool
) -> list[dict[str, Any]]:
    from gym_core.store import Store
    from palaestra.policies import find_checkpoint
    from palaestra.profiling import draw_pools, fingerprint, profile_pools, read_profiles, sampling_of, summary
    from palaestra.progress import bar
    from palaestra.stage import on_stage

    model = find_checkpoint(checkpoint)
    label = fingerprint(model)
    read_profiles(output, label)  # refuses a file of something else before anything is started
    async with on_stage(model, recipe, f"profile-{label}") as stage:
        pools = await draw_pools(stage.environment_url, recipe)
        total = sum(map(len, pools.values()))
        if not total:
            raise BadRequest("the recipe has no tasks", field="environments")
        with bar("tasks", total, quiet) as advance:
            found = await profile_pools(
                stage.agents,
                pools,
                checkpoint=label,
                repeats=repeats,
                sampling=sampling_of(recipe),
                path=output,
                on_task=advance,
            )
    if store:
        async with await Store.open(store) as kept:
            await kept.put_profiles(found)
    return summary(pools, found)
