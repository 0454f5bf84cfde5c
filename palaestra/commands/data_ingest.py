"""`palaestra data ingest`: published rows through an environment's check, refusals beside them with their reasons."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import click

from palaestra.data_progress import bytes_progress
from palaestra.options import json_option, paths_option, print_json, print_table

AUTO = "auto"
CHECK_TIMEOUT_S = 600.0
Row = dict[str, Any]


@click.command("ingest")
@click.argument("kind", metavar="KIND")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="where rows go that were taken")
@click.option("--refused", "refused_file", type=click.Path(path_type=Path), help="and the others  [OUT.refused.jsonl]")
@click.option("--source", "sources", multiple=True, metavar="NAME=FILE", help="a local copy that placeholders point to")
@click.option("--workers", default=2, show_default=True, type=click.IntRange(1), help="processes that check rows")
@paths_option
@json_option
def ingest(
    kind: str,
    file: Path,
    out: Path,
    refused_file: Path | None,
    sources: tuple[str, ...],
    workers: int,
    paths: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Check the rows of FILE. KIND is an environment, a published row kind, or `auto`: what each row itself names.

    Exit code 1 when rows were refused: they lie in the side file, with line, field and reason. Both files appear
    together when everything has been read.
    """
    from gym_core.data.card import cards
    from gym_core.registry import Registry

    os.environ.setdefault("PALAESTRA_LOG_LEVEL", "ERROR")
    registry = Registry.discover(paths)
    if kind in cards():
        kind = cards()[kind].environment
    kind = AUTO if kind == AUTO else registry.resolve(kind)
    refused_file = refused_file or out.with_name(f"{out.name.removesuffix('.jsonl')}.refused.jsonl")
    report = asyncio.run(_run(kind, registry, file, out, refused_file, sources, workers, paths, as_json))
    if as_json:
        print_json(report)
    else:
        _show(report)
    if report["refused"]:
        raise SystemExit(1)


async def _run(
    kind: str,
    registry: Any,
    file: Path,
    out: Path,
    refused_file: Path,
    sources: tuple[str, ...],
    workers: int,
    paths: tuple[Path, ...],
    quiet: bool,
) -> dict[str, Any]:
    from gym_core.data.ingest import ingest as ingest_file
    from gym_core.data.whole_file import WholeFile
    from palaestra.house import start_environments
    from palaestra.placeholders import Placeholders, source_files

    names = registry.names() if kind == AUTO else [kind]
    with ExitStack() as files, tempfile.TemporaryDirectory(prefix="palaestra-data-") as logs:
        placeholders = Placeholders.opened(source_files(sources), files)
        taken, refused = files.enter_context(WholeFile(out)), files.enter_context(WholeFile(refused_file))
        async with AsyncExitStack() as stack:
            service = await start_environments(names, Path(logs), stack, paths)
            with bytes_progress(file, quiet) as at:
                done = await ingest_file(
                    file,
                    taken,
                    refused,
                    await _checker(service.url, stack),
                    environment_of=_route(kind, registry),
                    prepare=placeholders.fill,
                    on_bytes=at,
                )
    if not done.refusals.count:
        refused_file.unlink()
    return {
        "file": str(file),
        "rows": done.rows,
        "taken": done.taken,
        "refused": done.refusals.count,
        "by_environment": dict(done.by_environment),
        "reasons": done.refusals.report(),
        "out": str(out),
        "refused_file": str(refused_file) if done.refusals.count else None,
    }


async def _checker(url: str, stack: AsyncExitStack) -> Any:
    """Asks the service that is served at `url`."""
    import msgspec

    from gym_core.errors import ErrorInfo
    from palaestra.house import connect

    client = await stack.enter_async_context(connect(url, timeout_s=CHECK_TIMEOUT_S))

    async def check(environment: str, rows: list[Row]) -> list[Row | ErrorInfo]:
        asked = {"rows": [{**row, "environment": environment} for row in rows]}
        reply: dict[str, Any] = await client.post_json(f"/{environment}/ingest", asked, idempotent=True)
        answers: list[Any] = reply["tasks"]
        for refusal in reply["refused"]:
            answers[refusal["row"]] = msgspec.convert(refusal["error"], ErrorInfo)
        return answers

    return check


def _route(kind: str, registry: Any) -> Callable[[Row], str]:
    """Which environment a row goes to. With a kind, rows that name another environment are refused."""
    from gym_core.data.ingest import routed
    from gym_core.errors import BadRow, UnknownName

    def environment_of(row: Row) -> str:
        name = routed(row)
        if kind == AUTO and not name and row.get("_hf_placeholder") is None:
            raise BadRow(
                "the row names no environment (`environment`, `agent_ref.name`)",
                field="environment",
                hint="say which one in place of `auto`",
            )
        if kind == AUTO and not name:
            return str(registry.resolve("math"))
        try:
            own = registry.resolve(name) if name else kind
        except UnknownName as error:
            if kind == AUTO:
                raise BadRow(error.message, field="environment", hint=error.hint) from None
            return kind
        if kind not in (AUTO, own):
            raise BadRow(
                f"the row is for {own!r} (it says {name!r}), not for {kind!r}", field="environment", hint="use `auto`"
            )
        return str(own)

    return environment_of


def _show(report: dict[str, Any]) -> None:
    by = ", ".join(f"{name} {count}" for name, count in report["by_environment"].items())
    click.echo(f"{report['taken']} of {report['rows']} rows taken{f' ({by})' if by else ''}: {report['out']}")
    if not report["refused"]:
        return
    rows = [
        {**reason, "lines": ", ".join(map(str, reason["lines"][:8])) + (" …" if reason["count"] > 8 else "")}
        for reason in report["reasons"]
    ]
    print_table(["count", "field", "lines", "message", "hint"], rows, title=f"{report['refused']} refused")
    click.secho(f"refused rows, with line and reason: {report['refused_file']}", fg="yellow")
