"""`palaestra data mix`: a blend of files and generated tasks, in the proportions of a recipe."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palaestra.data_progress import rows_progress
from palaestra.options import json_option, parse_pairs, paths_option, print_json, print_table

if TYPE_CHECKING:
    from gym_core.data.blend import Filled
    from gym_core.data.recipe import Blend, Part


@click.command("mix")
@click.argument("recipe", metavar="RECIPE.toml")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="the JSONL file")
@click.option("--rows", type=click.IntRange(1), help="rows of the blend  [default: the recipe's; else all that fit]")
@click.option("--seed", type=int, help="[default: the recipe's]")
@click.option("--epochs", type=click.IntRange(1), help="how often a file may be gone through  [default: the recipe's]")
@click.option("--part", "parts", multiple=True, metavar="NAME=FILE", help="rows of a part, in place of generated ones")
@click.option("--available", is_flag=True, help="leave out parts that have neither file nor generator here")
@paths_option
@json_option
def mix(
    recipe: str,
    out: Path,
    rows: int | None,
    seed: int | None,
    epochs: int | None,
    parts: tuple[str, ...],
    available: bool,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Blend rows in fixed proportions, the same for the same seed; rows of a file come once per epoch.

    RECIPE is a file, or the name of one under datasets/blends, such as `rlvr`.
    """
    import msgspec

    from gym_core.data.blend import blend_rows, shares, size_of
    from gym_core.data.recipe import read_blend
    from gym_core.data.whole_file import WholeFile

    path = _recipe_file(recipe)
    blend = read_blend(path)
    given = {"rows": rows, "seed": seed, "epochs": epochs}
    blend = msgspec.structs.replace(blend, **{key: value for key, value in given.items() if value is not None})
    filled, left_out = _fill(blend, path, parse_pairs(parts, "--part"), available, paths)
    size = size_of(filled, blend.rows)
    taken: Counter[str] = Counter()
    with WholeFile(out) as file, rows_progress(size, quiet=as_json) as advance:
        for name, row in blend_rows(filled, rows=size, seed=blend.seed, window=blend.window):
            file.row(row)
            taken[name] += 1
            advance()
    kept = msgspec.structs.replace(blend, part=[each.part for each in filled])
    report: dict[str, Any] = {"blend": blend.name, "out": str(out), "rows": size, "seed": blend.seed}
    report |= {"parts": shares(kept, taken), "left_out": left_out}
    if as_json:
        print_json(report)
        return
    print_table(["part", "rows", "share", "wanted"], report["parts"], title=f"{size} rows in {out}")
    for absent in left_out:
        click.secho(f"left out: {absent['part']}, {absent['why']}", fg="yellow", err=True)


def _recipe_file(recipe: str) -> Path:
    from gym_core.data.card import HOME

    shipped = HOME / "blends" / f"{recipe}.toml"
    return shipped if "/" not in recipe and not Path(recipe).is_file() and shipped.is_file() else Path(recipe)


def _fill(
    blend: Blend, path: Path, files: dict[str, str], available: bool, paths: tuple[Path, ...]
) -> tuple[list[Filled], list[dict[str, str]]]:
    """Each part with its source, and the parts that have none. Raises `BadRequest` unless those may be left out."""
    from gym_core.data.blend import Filled
    from gym_core.errors import BadRequest, UnknownName
    from gym_core.nearest import hint
    from gym_core.registry import Registry

    names = [part.name for part in blend.part]
    for name in files:
        if name not in names:
            raise BadRequest(f"{path} has no part {name!r}", field="--part", hint=hint(name, names))
    registry = Registry.discover(paths)
    filled, absent = [], []
    for part in blend.part:
        try:
            filled.append(Filled(part, _source(part, path, files.get(part.name, ""), blend.epochs, registry)))
        except UnknownName as error:
            absent.append({"part": part.name, "why": error.message})
    if absent and not available:
        told = "; ".join(f"{each['part']}: {each['why']}" for each in absent)
        raise BadRequest(
            f"{len(absent)} parts of {path.name} have neither file nor generator here ({told})",
            field="part",
            hint="give their rows with --part NAME=FILE, or leave them out with --available",
        )
    if not filled:
        raise BadRequest(f"no part of {path} is there", field="part")
    return filled, absent


def _source(part: Part, recipe: Path, file: str, epochs: int, registry: Any) -> Any:
    from gym_core.data.sources import FileSource, GeneratedSource
    from gym_core.errors import BadRequest

    if file or part.file:
        return FileSource.at(Path(file) if file else recipe.parent / part.file, epochs)
    environment = registry.load(part.environment).cls()
    levels = part.levels or list(environment.levels)
    if unknown := [level for level in levels if level not in environment.levels]:
        raise BadRequest(
            f"part {part.name!r}: {part.environment} has no level {unknown[0]}",
            field="levels",
            hint=f"levels {environment.levels[0]} to {environment.levels[-1]}",
        )
    return GeneratedSource(environment, levels)
