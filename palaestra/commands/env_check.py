"""`palaestra env check`: the quality gate, as a table that a person can act on or as JSON."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from palaestra.options import json_option, paths_option, print_json, print_table

if TYPE_CHECKING:
    from gym_core.check.gate import Report
    from gym_core.registry import Registry

_MARKS = {"pass": ("pass", "green"), "fail": ("FAIL", "red"), "skip": ("skip", "yellow")}


@click.command("check")
@click.argument("targets", nargs=-1, metavar="[NAME|PATH]...")
@click.option("--all", "all_", is_flag=True, help="every environment that can be found")
@click.option("--quick", is_flag=True, help="fewer tasks: seconds instead of half a minute")
@click.option("--rule", "rules", multiple=True, help="ask only this rule; may be repeated")
@click.option("--seed", default=20, show_default=True, help="seed of the tasks that are made")
@paths_option
@json_option
def check(
    targets: tuple[str, ...],
    all_: bool,
    quick: bool,
    rules: tuple[str, ...],
    seed: int,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Ask every rule of the quality gate. Exit code 1 where any fails, 2 where nothing could be asked."""
    from gym_core.check.gate import QUICK, CheckOptions, rule_ids
    from gym_core.nearest import hint

    if bool(targets) == all_:
        raise click.UsageError("name environments or paths, or say --all")
    for rule in rules:
        if rule not in rule_ids():
            raise click.UsageError(f"no rule is called {rule!r}: {hint(rule, rule_ids())}")
    options = msgspec.structs.replace(QUICK if quick else CheckOptions(), seed=seed)
    reports = []
    for registry, name, refusal in _wanted(targets, paths):
        report = refusal or _checked(registry, name, options, rules)
        reports.append(report)
        if not as_json:
            _show(report, whole=not all_)
    if as_json:
        print_json([msgspec.to_builtins(report) for report in reports])
    elif len(reports) > 1:
        print_table(_SUMMARY, [_summary(report) for report in reports])
    if any(report.status == "fail" for report in reports):
        raise SystemExit(1)


def _checked(registry: Registry, name: str, options: Any, rules: tuple[str, ...]) -> Report:
    from gym_core.check import gate

    return asyncio.run(gate.check(registry.manifest(name), registry.place(name), options, rules))


def _wanted(targets: tuple[str, ...], paths: tuple[Path, ...]) -> list[tuple[Any, str, Report | None]]:
    """(registry, name, None) of each; the report itself of a place that is there and cannot be read."""
    from gym_core.check.gate import refused
    from gym_core.errors import BadRequest
    from gym_core.registry import Registry
    from palaestra.commands.env_target import find

    if not targets:
        registry = Registry.discover(paths)
        return [(registry, name, None) for name in registry.names()]
    wanted: list[tuple[Any, str, Report | None]] = []
    for target in targets:
        try:
            registry, names = find(target, paths)
        except BadRequest as error:
            rule = "loads" if target.endswith(".py") else "manifest"
            if not Path(target).exists() or error.field == "paths":
                raise
            wanted.append((None, Path(target).stem, refused(Path(target).stem, rule, error.message)))
        else:
            wanted += [(registry, name, None) for name in names]
    return wanted


# The table -------------------------------------------------------------------------------------------------------

_SUMMARY = ["name", "status", "failed", "oracle", "idle", "random", "ms", "tasks/s"]


def _summary(report: Report) -> dict[str, Any]:
    figures = report.figures
    return {
        "name": report.name,
        "status": report.status,
        "failed": [result.id for result in report.failures()],
        "oracle": figures.oracle,
        "idle": figures.idle,
        "random": figures.random,
        "ms": figures.ms_per_verify,
        "tasks/s": None if figures.tasks_per_s is None else round(figures.tasks_per_s),
    }


def _show(report: Report, whole: bool) -> None:
    """All rules, or only those that fail; below each failure the way out, below each pass what is worth a look."""
    counts = [f"{sum(result.status == status for result in report.rules)} {status}" for status in _MARKS]
    click.secho(f"{report.name} {report.version}  {', '.join(counts)}  ({report.seconds:.1f} s)", bold=True)
    width = max(len(result.id) for result in report.rules)
    for result in report.rules:
        if not whole and result.status != "fail":
            continue
        mark, colour = _MARKS[result.status]
        click.echo(f"  {click.style(mark, fg=colour)}  {result.id:{width}}  {result.found}")
        for note in result.notes:
            click.echo(f"        {'':{width}}  note: {note}")
        if result.status == "fail":
            click.echo(f"        {'':{width}}  rule: {result.about}")
            click.echo(f"        {'':{width}}  fix:  {result.fix}")
    figures = {name: value for name, value in msgspec.to_builtins(report.figures).items() if value is not None}
    if whole and figures:
        told = (
            f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value!r}"
            for name, value in figures.items()
        )
        click.echo(f"  {'  '.join(told)}")
    for panel, floor in report.floors.items() if whole else ():
        click.echo(f"  declared {panel}: {floor:g}")
