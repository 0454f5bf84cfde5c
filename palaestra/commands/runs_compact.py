"""`palaestra runs compact`: token segments that nobody writes, compressed."""

from __future__ import annotations

import asyncio
from typing import Any

import click
import msgspec

from palaestra.options import json_option, print_json
from palaestra.stored import Place, place_options


@click.command("compact")
@place_options
@json_option
def command(place: Place, as_json: bool) -> None:
    """Compress the tokens of every store and give back what no rollout needs. Exit code 1 where bytes are damaged.

    Services may go on writing: what they hold is left alone. Nothing is lost whenever this is interrupted.
    """
    told = asyncio.run(_compact(place))
    if as_json:
        print_json(told)
    for one in [] if as_json else told:
        saved = one["bytes_before"] - one["bytes_after"]
        click.echo(
            f"{one['store']}: {one['blobs']} blobs packed ({one['codec']}), {_size(one['bytes_before'])} → "
            f"{_size(one['bytes_after'])} ({_size(saved)} freed), {one['in_use']} segments in use"
        )
        for fault in [*one["damaged"], *(f"missing: {name}" for name in one["missing"])]:
            click.secho(f"  {fault}", fg="yellow", err=True)
    if any(one["damaged"] or one["missing"] for one in told):
        raise SystemExit(1)


async def _compact(place: Place) -> list[dict[str, Any]]:
    from gym_core.store import Store
    from gym_core.store.packed import codec_name

    told = []
    for address in place.some():
        async with await Store.open(address, create=False) as store:
            result = msgspec.to_builtins(await store.compact())
            told.append({"store": store.name, "codec": codec_name(), **result})
    return told


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KB", "MB", "GB"):
        if abs(size) < 1000 or unit == "GB":
            break
        size /= 1000
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
