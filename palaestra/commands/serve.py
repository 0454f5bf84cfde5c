"""`palaestra serve`: an OpenAI-compatible policy."""

from __future__ import annotations

from pathlib import Path

import click

from palaestra.options import listen_options


@click.command("serve")
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="a checkpoint, or a run's folder")
@click.option("--upstream", default="", metavar="URL", help="put the server in front of an OpenAI-compatible endpoint")
@click.option("--upstream-model", default="", help="the endpoint's name of the model")
@click.option("--slots", default=128, show_default=True, help="samples at once")
@click.option("--max-length", default=2048, show_default=True, help="tokens of prompt and answer together")
@listen_options
def command(
    model: Path | None,
    upstream: str,
    upstream_model: str,
    slots: int,
    max_length: int,
    host: str,
    port: int,
    parent_pid: int | None,
) -> None:
    """Serve a policy: /v1/responses, /v1/chat/completions, /v1/completions."""
    from gym_core import auth
    from gym_core.serve import run
    from palaestra.policies import policy_config, served_app

    config = policy_config(model, upstream, upstream_model, num_slots=slots, max_length=max_length)
    token = auth.secret()
    run(served_app(config, token=token), host=host, port=port, token=token, parent_pid=parent_pid)
