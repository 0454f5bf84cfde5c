"""`palaestra serve`: an OpenAI-compatible policy."""

from __future__ import annotations

from pathlib import Path

import click

from palaestra.options import listen_options


@click.command("serve")
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="a checkpoint, or a run's folder")
@click.option("--upstream", default="", metavar="URL", help="put the server in front of an OpenAI-compatible endpoint")
@click.option("--upstream-model", default="", help="the endpoint's name of the model")
@click.option("--slots", type=click.IntRange(1), help="samples at once  [default: 128]")
@click.option("--max-length", type=click.IntRange(1), help="tokens of prompt and answer together  [default: 2048]")
@click.option("--thinking/--no-thinking", default=None, help="let the policy think where a request does not say")
@click.option("--config", "config_file", type=click.Path(exists=True, path_type=Path), help="TOML with [policy]")
@listen_options
def command(
    model: Path | None,
    upstream: str,
    upstream_model: str,
    slots: int | None,
    max_length: int | None,
    thinking: bool | None,
    config_file: Path | None,
    host: str,
    port: int,
    parent_pid: int | None,
) -> None:
    """Serve a policy: /v1/responses, /v1/chat/completions, /v1/completions."""
    from gym_core.serve import run
    from palaestra.policies import policy_config, served_app

    config = policy_config(
        model,
        upstream,
        upstream_model,
        config_file=config_file,
        num_slots=slots,
        max_length=max_length,
        enable_thinking=thinking,
    )
    run(served_app(config), host=host, port=port, parent_pid=parent_pid)
