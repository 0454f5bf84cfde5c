"""`palaestra plan`: whether a recipe fits on N GPUs, and what a step of it would take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click
import msgspec

from palaestra.options import json_option, parse_overrides, print_json, print_table

if TYPE_CHECKING:
    from trainer.config import Recipe
    from trainer.plan import Assumptions, Plan

SHOWN = 5


@click.command("plan")
@click.argument("recipe_name", metavar="RECIPE")
@click.option("--gpus", required=True, type=click.IntRange(1), help="how many, all of one kind")
@click.option("--gpu", default="h200", show_default=True, help="a100-80gb, h100, h200, b200")
@click.option(
    "--mean-prompt",
    type=click.IntRange(1),
    help="tokens of a prompt, on average",
)
@click.option("--mean-output", type=click.IntRange(1), help="tokens of an answer, on average")
@click.option("--mfu", type=click.FloatRange(0, 1, min_open=True), help="share of the peak in training (0.25)")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="override a key, such as layout.cp=2")
@json_option
def command(
    recipe_name: str,
    gpus: int,
    gpu: str,
    mean_prompt: int | None,
    mean_output: int | None,
    mfu: float | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Layout, memory per GPU, tokens and seconds per step of RECIPE, computed, with every assumption printed.

    Exit code 1 where it does not fit; the reasons and layouts that would fit are told.
    """
    from trainer.config import load_recipe
    from trainer.plan import Assumptions, plan

    assumed = Assumptions(mean_prompt=mean_prompt or 0, mean_output=mean_output or 0)
    if mfu is not None:
        assumed = msgspec.structs.replace(assumed, mfu=mfu)
    recipe = load_recipe(recipe_name, parse_overrides(overrides))
    made = plan(recipe, gpus, gpu, assumed)
    instead = [] if made.fits else _others(recipe, made, assumed)
    if as_json:
        print_json(msgspec.to_builtins(made) | ({} if made.fits else {"fitting_layouts": instead}))
    else:
        _show(made, instead)
    if not made.fits:
        raise SystemExit(1)


def _others(recipe: Recipe, made: Plan, assumed: Assumptions) -> list[dict[str, int]]:
    from trainer.plan import fitting

    return [other.layout for other in fitting(recipe, made.gpus, made.gpu, assumed)[:SHOWN]]


def _show(made: Plan, instead: list[dict[str, int]]) -> None:
    policy = made.policy
    click.echo(
        f"{made.recipe} on {made.gpus} x {made.gpu}: learner {_named(made.layout)}, "
        f"policy {policy['engine']} tp{policy['tp']} x {policy['replicas']}"
    )
    print_table(["GiB per GPU", "amount"], _rows("GiB per GPU", made.memory_gib))
    print_table(["tokens per step", "amount"], _rows("tokens per step", made.tokens_per_step))
    print_table(["seconds per step", "amount"], _rows("seconds per step", made.step_seconds))
    click.echo(f"{made.tokens_per_gpu_second:.0f} tokens per GPU and second")
    assumed = ", ".join(f"{name} {value}" for name, value in msgspec.to_builtins(made.assumptions).items())
    click.echo(f"computed, not measured; assumed: {assumed}")
    for problem in made.problems:
        click.echo(f"does not fit: {problem}", err=True)
    if not made.fits:
        layouts = "; ".join(_named(one) for one in instead)
        click.echo(f"with every layer recomputed these fit: {layouts or 'none'}", err=True)


def _named(layout: dict[str, int]) -> str:
    return "-".join(f"{axis}{size}" for axis, size in layout.items() if axis != "world")


def _rows(what: str, amounts: Mapping[str, float]) -> list[dict[str, object]]:
    return [{what: name, "amount": amount} for name, amount in amounts.items()]
