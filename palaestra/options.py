"""Options that several commands share, and the two ways of printing: a table for people, JSON for scripts."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

json_option = click.option("--json", "as_json", is_flag=True, help="print JSON")

paths_option = click.option(
    "--path",
    "paths",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="another folder with a manifest.toml, or a folder of such folders; may be repeated",
)


def listen_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--host`, `--port` and, for services that a program starts, `--parent-pid`."""
    for option in (
        click.option(
            "--parent-pid", type=int, hidden=True, help="end when this process ends (set by a program that starts us)"
        ),
        click.option(
            "--port",
            default=0,
            show_default=True,
            type=click.IntRange(0, 65535),
            help="0 takes a free one and prints it",
        ),
        click.option("--host", default="127.0.0.1", show_default=True, help="beyond loopback a token must be set"),
    ):
        function = option(function)
    return function


def print_json(value: Any) -> None:
    click.echo(msgspec.json.format(msgspec.json.encode(value), indent=2))


PIPED_WIDTH = 120
"""Characters in a line of a table that no terminal shows."""


def print_table(columns: Sequence[str], rows: Sequence[dict[str, Any]], title: str = "") -> None:
    """Rows as a table on the terminal; lists are joined, numbers aligned to the right.

    Nothing is cut: the first column, which the next command wants to hear, stays in one piece, others break.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.padding = (0, 1, 0, 0)
    for number, column in enumerate(columns):
        numeric = all(isinstance(row.get(column), int | float) for row in rows) and bool(rows)
        justify: Literal["left", "right"] = "right" if numeric else "left"
        table.add_column(Text(column.replace("_", " ")), justify=justify, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text(_cell(row.get(column))) for column in columns))  # as it is: no markup, whatever it holds
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    if title:  # above the table, not in it: a title in a table breaks at the table's width
        console.print(Text(title, style="italic"), soft_wrap=True)
    console.print(table if rows else "(none)")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(value)


def parse_pairs(pairs: Sequence[str], option: str) -> dict[str, str]:
    """`NAME=VALUE` options as a dict. Raises a usage error naming the option."""
    found = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{option} takes NAME=VALUE, not {pair!r}")
        found[name] = value
    return found


def parse_overrides(pairs: Sequence[str]) -> dict[str, Any]:
    """`--set grpo.steps=20` options: values are read as TOML where they are, else as text."""
    found: dict[str, Any] = {}
    for name, value in parse_pairs(pairs, "--set").items():
        try:
            found[name] = msgspec.toml.decode(f"value = {value}")["value"]
        except msgspec.DecodeError:
            found[name] = value
    return found
