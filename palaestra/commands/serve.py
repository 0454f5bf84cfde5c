"""`palaestra serve`: an OpenAI-compatible policy."""

from __future__ import annotations

from pathlib import Path

import click

from palaestra.options import listen_options


@click.command("serve")
@click.option("--model", type=click.Path(exists=True, path_type=Path), help="a checkpoint, or a run's folder")
@click.option("--engine", type=click.Choice(["embedded", "vllm"]), help="who computes  [default: embedded]")
@click.option("--upstream", default="", metavar="URL", help="put the server in front of an OpenAI-compatible endpoint")
@click.option("--upstream-model", default="", help="the endpoint's name of the model")
@click.option("--slots", type=click.IntRange(1), help="samples at once  [default: 128]")
@click.option("--max-length", type=click.IntRange(1), help="tokens of prompt and answer together  [default: 2048]")
@click.option("--replicas", default=1, show_default=True, type=click.IntRange(1), help="processes behind one address")
@click.option(
    "--publish-timeout",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0, min_open=True),
    help="seconds until a replica without new weights is replaced",
)
@click.option("--thinking/--no-thinking", default=None, help="let the policy think where a request does not say")
@click.option("--follow", type=click.Path(path_type=Path), help="serve what a training run hands over in this file")
@click.option("--config", "config_file", type=click.Path(exists=True, path_type=Path), help="TOML with [policy]")
@listen_options
def command(
    model: Path | None,
    engine: str | None,
    upstream: str,
    upstream_model: str,
    slots: int | None,
    max_length: int | None,
    replicas: int,
    publish_timeout: float,
    thinking: bool | None,
    follow: Path | None,
    config_file: Path | None,
    host: str,
    port: int,
    parent_pid: int | None,
) -> None:
    """Serve a policy: /v1/responses, /v1/chat/completions, /v1/completions."""
    from gym_core.serve import run
    from palaestra.following import follow as serve_what_is_handed_over
    from palaestra.policies import policy_config, served_app

    flags = {"num_slots": slots, "max_length": max_length, "enable_thinking": thinking}
    if follow is not None:
        if model is not None or upstream or replicas > 1:
            raise click.UsageError("--follow serves what is handed over: no --model, --upstream or --replicas with it")
        given = {name: value for name, value in flags.items() if value is not None}
        serve_what_is_handed_over(follow, host, port, parent_pid, config_file=config_file, **given)
        return
    config = policy_config(model, upstream, upstream_model, config_file=config_file, engine=engine, **flags)
    if replicas > 1:
        from palaestra.replicas import replicated_app

        app = replicated_app(replicas, _for_each(click.get_current_context()), publish_s=publish_timeout)
    else:
        app = served_app(config)
    run(app, host=host, port=port, parent_pid=parent_pid)


def _for_each(context: click.Context) -> list[str]:
    """The words of this command for one replica: all but where to listen and how many there are."""
    words: list[str] = []
    for option in context.command.params:
        value = context.params.get(str(option.name))
        if value in (None, "") or option.name in ("replicas", "publish_timeout", "host", "port", "parent_pid"):
            continue
        if isinstance(option, click.Option) and option.is_flag:
            words.append((option.opts if value else option.secondary_opts)[0])
        else:
            words += [option.opts[0], str(value)]
    return words
