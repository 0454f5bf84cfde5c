"""The command line: `palaestra` and its short form `pal`. Commands are imported only when they are called."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

from gym_core.errors import PalaestraError
from gym_core.nearest import nearest

COMMANDS = {
    "agent": ("palaestra.commands.agent", "serve the agent server"),
    "chat": ("palaestra.commands.chat", "talk to a trained policy"),
    "config": ("palaestra.commands.config", "show every setting and where it comes from"),
    "dashboard": ("palaestra.commands.dashboard", "show runs, rollouts and services in a browser"),
    "data": ("palaestra.commands.data", "build, ingest, count and blend files of rows"),
    "diff": ("palaestra.commands.runs_diff", "compare two stored runs, or two rollouts"),
    "env": ("palaestra.commands.env", "write, list, serve and check environments; print their tasks"),
    "eval": ("palaestra.commands.evaluate", "score a checkpoint on held-out tasks"),
    "model": ("palaestra.commands.model", "count, convert, time and talk to a model"),
    "plan": ("palaestra.commands.plan", "what a recipe needs on N GPUs"),
    "profile": ("palaestra.commands.profile", "how often a checkpoint solves each task of a recipe"),
    "reverify": ("palaestra.commands.runs_reverify", "grade a stored run again and compare"),
    "nemo-gym": ("palaestra.commands.nemo_gym", "serve clients of NeMo Gym, write its files"),
    "quickstart": ("palaestra.commands.quickstart", "play a first scored rollout, without a key"),
    "run": ("palaestra.commands.run", "collect and score rollouts from a policy"),
    "runs": ("palaestra.commands.runs", "list stored runs, show, compare, export, compact, prune"),
    "sandbox": ("palaestra.commands.sandbox", "run untrusted programs for environments elsewhere"),
    "serve": ("palaestra.commands.serve", "serve a policy, OpenAI-compatible"),
    "show": ("palaestra.commands.runs_show", "show a stored run, or a rollout"),
    "token": ("palaestra.commands.token", "make, exchange and take back the tokens that open servers"),
    "train": ("palaestra.commands.train", "train a policy from a recipe"),
}

EXTRAS = {
    "httpx": "client",
    "jinja2": "train",
    "lean_dojo": "lean",
    "llguidance": "train",
    "opentelemetry": "otel",
    "psycopg": "postgres",
    "pyarrow": "parquet",
    "ray": "train",
    "reasoning_gym": "reasoning",
    "safetensors": "train",
    "tensorboard": "train",
    "tokenizers": "train",
    "torch": "train",
    "transformers": "dev",
    "zstandard": "zstd",
}
"""Which extra of pyproject.toml brings a library that the light core lacks."""


class LazyGroup(click.Group):
    """A group whose commands live in modules of their own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        return importlib.import_module(COMMANDS[cmd_name][0]).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in sorted(COMMANDS.items())])

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[Any, Any, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = nearest(args[0], COMMANDS, count=1)
            if near:
                raise click.UsageError(f"{error.message} Did you mean `{near[0]}`?", ctx) from None
            raise


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="palaestra")
def cli() -> None:
    """Palaestra: environments, rollouts and reinforcement learning of language models."""


def main() -> None:
    """Run the command line. Exit codes: 0 done, 2 the input or the world is wrong, 130 interrupted."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except PalaestraError as error:
        click.echo(_told(error), err=True)
        sys.exit(2)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        click.echo(
            f"error: this needs {error.name}, which is not installed\n  pip install 'palaestra[{extra}]'", err=True
        )
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _told(error: PalaestraError) -> str:
    info = error.info()
    where = f" [{info.field}]" if info.field else ""
    hint = f"\n  {info.hint}" if info.hint else ""
    return f"error: {info.message}{where}{hint}"


if __name__ == "__main__":
    main()
