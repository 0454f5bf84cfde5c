"""`palaestra token`: make, exchange, list and take back the tokens that open our servers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gym_core.token_file import SCOPES, VARIABLE
from palaestra.options import json_option, print_json, print_table

file_option = click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    envvar=VARIABLE,
    required=True,
    help=f"the tokens file [{VARIABLE}]",
)
days_option = click.option("--days", type=click.FloatRange(min=0), default=0, help="it ends by itself after so many")


@click.group("token")
def command() -> None:
    """Who may call our servers, and for what. Servers read the file again by themselves when it changes."""


def _scopes_help(function: Callable[..., Any]) -> Callable[..., Any]:
    function.__doc__ = (
        (function.__doc__ or "")
        + "\n\n\b\nScopes:\n"
        + "\n".join(f"  {scope:<20} {what}" for scope, what in SCOPES.items())
    )
    return function


@command.command("new")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, metavar="SCOPE", help="what it opens; repeat for more")
@days_option
@file_option
@_scopes_help
def new(name: str, scopes: tuple[str, ...], days: float, path: Path) -> None:
    """Print a new token for NAME. It is printed once: the file keeps only its digest."""
    from gym_core import token_file

    click.echo(token_file.new(path, name, scopes, days=days))


@command.command("rotate")
@click.argument("name")
@click.option("--keep-hours", type=click.FloatRange(min=0), default=24.0, show_default=True, help="life of the old one")
@days_option
@file_option
def rotate(name: str, keep_hours: float, days: float, path: Path) -> None:
    """Print another token for NAME; the one before works until --keep-hours have passed."""
    from gym_core import token_file

    click.echo(token_file.rotate(path, name, keep_s=3600 * keep_hours, days=days))


@command.command("revoke")
@click.argument("name")
@file_option
def revoke(name: str, path: Path) -> None:
    """Take every token of NAME back; servers know within a second."""
    from gym_core import token_file

    token_file.revoke(path, name)


@command.command("list")
@file_option
@json_option
def list_(path: Path, as_json: bool) -> None:
    """Who holds tokens, what they open, and until when. No token is shown: nobody has them any more."""
    from gym_core import token_file

    rows = [
        {
            "name": name,
            "scopes": holder.scopes,
            "valid": sum(not key.expires or key.expires > time.time() for key in holder.keys),
            "made": _date(max(key.created for key in holder.keys)),
            "ends": [_date(key.expires) if key.expires else "never" for key in holder.keys],
        }
        for name, holder in sorted(token_file.read(path).tokens.items())
        if holder.keys
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(("name", "scopes", "valid", "made", "ends"), rows)


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
