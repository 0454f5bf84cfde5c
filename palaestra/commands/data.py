"""`palaestra data`: files of rows, made, checked, counted and blended."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import click

from palaestra.commands.data_ingest import ingest
from palaestra.commands.data_mix import mix
from palaestra.data_progress import bytes_progress, rows_progress
from palaestra.options import json_option, paths_option, print_json, print_table


@click.group("data")
def command() -> None:
    """Build, ingest, count and blend files of task rows (JSONL)."""


@command.command("list")
@json_option
def list_(as_json: bool) -> None:
    """The datasets that have a card: what they are, how many rows, under which licence."""
    import msgspec

    from gym_core.data.card import cards

    rows = [
        {"name": name, **msgspec.to_builtins(card), "generated": card.build is not None}
        for name, card in cards().items()
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        row["rows"] = ", ".join(f"{split} {count:,}" for split, count in row["rows"].items()) or (
            "without end" if row["generated"] else "–"
        )
    print_table(["name", "environment", "rows", "licence"], rows)


@command.command("build")
@click.argument("name")
@click.option("--level", "levels", metavar="LEVELS", help="such as 2 or 0-3,5  [default: those of the card]")
@click.option("--count", type=click.IntRange(1), help="tasks of each level  [default: that of the card]")
@click.option("--seed", type=int, help="seed of the generator  [default: that of the card]")
@click.option("--split", type=click.Choice(["train", "heldout"]), help="[default: that of the card]")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="the JSONL file")
@paths_option
@json_option
def build(name: str, out: Path, paths: tuple[Path, ...], as_json: bool, **given: Any) -> None:
    """Write generated tasks: NAME is a dataset (`palaestra data list`), or any environment. No prompt comes twice."""
    from gym_core.data.whole_file import WholeFile
    from gym_core.generate import iter_tasks
    from gym_core.registry import Registry

    registry = Registry.discover(paths)
    environment, plan = _plan(name, registry, given)
    made = registry.load(environment).cls()
    seen: set[str] = set()
    counts = {}
    with WholeFile(out) as file, rows_progress(len(plan["levels"]) * plan["count"], quiet=as_json) as advance:
        for level in plan["levels"]:
            tasks = iter_tasks(made, seed=plan["seed"], level=level, split=plan["split"])
            fresh = (task for task in tasks if task.task_id not in seen)
            for _ in range(plan["count"]):
                task = next(fresh)
                seen.add(task.task_id)
                file.row(task.to_row())
                advance()
            counts[str(level)] = plan["count"]
    report = {"environment": environment, "version": made.version, "out": str(out), "rows": file.rows, "levels": counts}
    if as_json:
        print_json({**report, "seed": plan["seed"], "split": plan["split"]})
    else:
        click.echo(f"{file.rows} tasks of {environment} {made.version} in {out}")


def _plan(name: str, registry: Any, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The environment, and levels, count, seed and split: as given, else as the card says."""
    from gym_core.data.card import Build, cards
    from gym_core.errors import BadRequest

    card = cards().get(name)
    if card is not None and card.build is None:
        raise BadRequest(
            f"{name!r} is a published set, nothing here generates it",
            field="name",
            hint=f"download it from {card.url or card.origin}, then: "
            f"palaestra data ingest {card.environment} FILE --out ROWS",
        )
    environment = registry.resolve(card.environment if card else name)
    known = card.build if card and card.build else Build(levels=[registry.load(environment).cls.levels[0]], count=100)
    levels = parse_levels(given["levels"]) if given["levels"] else known.levels
    plan = {key: getattr(known, key) if given[key] is None else given[key] for key in ("count", "seed", "split")}
    return environment, {**plan, "levels": levels}


def parse_levels(text: str) -> list[int]:
    """`0-3,5` as a list. Raises a usage error."""
    levels: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if not first.isdigit() or (dash and not last.isdigit()):
            raise click.UsageError(f"--level takes numbers and ranges such as 0-3,5, not {text!r}")
        levels.update(dict.fromkeys(range(int(first), int(last or first) + 1)))
    if not levels:
        raise click.UsageError(f"--level {text} names no level")
    return list(levels)


@command.command("stats")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--near/--exact", default=True, help="between files, look for nearly equal prompts too")
@paths_option
@json_option
def stats(files: tuple[Path, ...], near: bool, paths: tuple[Path, ...], as_json: bool) -> None:
    """Count FILES: environments, levels, prompt lengths, duplicates; of several, the prompts that two share."""
    from gym_core.data.stats import look, shared
    from gym_core.registry import Registry

    name_of = _known_name(Registry.discover(paths))
    looked = []
    for path in files:
        with bytes_progress(path, quiet=as_json) as at:
            looked.append(look(path, name_of=name_of, near=near and len(files) > 1, on_bytes=at))
    reports = [each.report() for each in looked]
    overlaps = [shared(first, second) for first, second in combinations(looked, 2)]
    if as_json:
        print_json({"files": reports, "shared": overlaps})
        return
    for report in reports:
        _show(report)
    for overlap in overlaps:
        click.echo(
            f"{overlap['same']} of {overlap['prompts']} prompts of {overlap['file']} are in {overlap['in']}"
            + (f", {overlap['near']} more nearly" if near else "")
        )


def _known_name(registry: Any) -> Callable[[str], str]:
    from gym_core.errors import PalaestraError

    def name_of(name: str) -> str:
        try:
            resolved: str = registry.resolve(name) if name else ""
            return resolved
        except PalaestraError:
            return f"{name} (unknown)"

    return name_of


def _show(report: dict[str, Any]) -> None:
    rows = [
        {"environment": name, "rows": found["rows"], "levels": _pairs(found["levels"])}
        for name, found in report["environments"].items()
    ]
    print_table(["environment", "rows", "levels"], rows, title=f"{report['file']}: {report['rows']} rows")
    click.echo(f"prompt characters: {_pairs(report['prompt_characters']) or '–'}")
    click.echo(f"{report['distinct_prompts']} different prompts, {report['duplicates']} duplicates")
    if report["placeholders"]:
        click.secho(f"{report['placeholders']} unresolved placeholders", fg="yellow")
    if bad := report["bad_lines"]:
        click.secho(f"{len(bad)} lines are no rows: {', '.join(map(str, bad[:20]))}", fg="yellow")


def _pairs(values: dict[str, Any]) -> str:
    return "  ".join(f"{name}: {value}" for name, value in values.items())


for _command in (ingest, mix):
    command.add_command(_command)
