"""`palaestra runs`: what is stored, and what may be done with it."""

from __future__ import annotations

import importlib
from typing import Any

import click

COMMANDS = {
    "compact": "compress the tokens of finished runs",
    "diff": "compare two runs, or two rollouts",
    "export": "write a run to JSONL or Parquet",
    "list": "list stored runs",
    "prune": "forget the rollouts of old runs",
    "reverify": "grade a run again and compare",
    "show": "show a run, or a rollout",
}


class RunsGroup(click.Group):
    """Without a command it lists; what is no command is a run or a rollout to show."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"palaestra.commands.runs_{cmd_name}").command
        return found

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = [arg for arg in args if arg in COMMANDS]
        if not named and not any(arg in ("-h", "--help") for arg in args):
            plain = _first_argument(args)
            args = ["list" if plain is None else "show", *args]
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


def _first_argument(args: list[str]) -> str | None:
    """The first word that is neither an option nor the value of one."""
    words = iter(args)
    for word in words:
        if word in ("--runs-dir", "--store"):
            next(words, None)
        elif not word.startswith("-"):
            return word
    return None


@click.group("runs", cls=RunsGroup)
def command(**_: Any) -> None:
    """Stored runs: `palaestra runs` lists them, `palaestra runs RUN` shows one."""
