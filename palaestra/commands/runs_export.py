"""`palaestra runs export`: a run as JSON lines or Parquet."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from palaestra.options import json_option, print_json
from palaestra.stored import Place, place_options


@click.command("export")
@click.argument("run")
@click.option("--format", "kind", type=click.Choice(["jsonl", "parquet"]), default="jsonl", show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="[default: RUN.jsonl or RUN.parquet]")
@click.option("--tokens/--no-tokens", default=False, show_default=True, help="token ids, log-probabilities, loss masks")
@click.option("--env", "environment", help="rollouts of this environment only")
@place_options
@json_option
def command(
    run: str, kind: str, output: Path | None, tokens: bool, environment: str | None, place: Place, as_json: bool
) -> None:
    """Write the rollouts of a run to a file; an earlier file of that name is replaced when the new one is whole."""
    told = asyncio.run(_export(run, kind, output, tokens, environment, place, quiet=as_json))
    if as_json:
        print_json(told)
    else:
        click.echo(f"{told['rollouts']} rollouts in {told['output']}")


async def _export(
    run: str, kind: str, output: Path | None, tokens: bool, environment: str | None, place: Place, quiet: bool
) -> dict[str, object]:
    from palaestra.export import export
    from palaestra.progress import bar

    async with place.run(run) as (store, run_id):
        path = output or Path(f"{run_id.replace('/', '_')}.{kind}")
        total = await store.count_rollouts(run_id, environment=environment)
        with bar("rollouts", total, quiet) as advance:
            rollouts = store.iter_stored(run_id, environment=environment, blobs=tokens)
            count = await export(rollouts, path, kind, tokens, advance)
    return {"run_id": run_id, "rollouts": count, "output": str(path), "format": kind}
