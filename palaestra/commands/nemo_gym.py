"""`palaestra nemo-gym`: stand in for a NeMo Gym head, and collect rollouts into its files."""

from __future__ import annotations

from pathlib import Path

import click

from palaestra.options import listen_options, parse_pairs


@click.group("nemo-gym")
def command() -> None:
    """Serve clients that speak NeMo Gym, and write its files."""


@command.command("serve")
@click.option("--agent", "agent_url", default="", metavar="URL", help="the agent server, for /run")
@click.option("--policy", "policy_url", default="", metavar="URL", help="the policy server, for /v1/responses")
@click.option(
    "--env", "environments", multiple=True, metavar="NAME=URL", help="an environment service; may be repeated"
)
@click.option(
    "--failures",
    type=click.Choice(["status", "masked"]),
    default="status",
    show_default=True,
    help="a rollout without a reward: answer 500, or a masked row (clients from 0.7 on)",
)
@listen_options
def serve(
    agent_url: str,
    policy_url: str,
    environments: tuple[str, ...],
    failures: str,
    host: str,
    port: int,
    parent_pid: int | None,
) -> None:
    """A head: names, /run, /aggregate_metrics, and every environment at one address."""
    import msgspec

    from agent_server.nemo_gym.config import HeadConfig
    from agent_server.nemo_gym.head import build_head
    from gym_core import auth
    from gym_core.access import Access
    from gym_core.serve import run

    given = {
        "agent_url": agent_url,
        "policy_url": policy_url,
        "environments": parse_pairs(environments, "--env"),
        "failures": failures,
    }
    app = build_head(msgspec.convert(given, HeadConfig), token=auth.own_token(), access=Access.configured())
    run(app, host=host, port=port, parent_pid=parent_pid)


@command.command("collect")
@click.argument("rows", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--head", "head_url", required=True, metavar="URL", help="a head: ours, or one of theirs at its agent")
@click.option("--repeats", default=1, show_default=True, type=click.IntRange(1), help="rollouts of each row")
@click.option("--limit", type=click.IntRange(1), help="only the first so many rows")
@click.option("--concurrency", default=64, show_default=True, type=click.IntRange(1), help="rollouts at once")
@click.option("--resume", is_flag=True, help="keep what OUTPUT holds already and play the rest")
def collect(
    rows: Path, output: Path, head_url: str, repeats: int, limit: int | None, concurrency: int, resume: bool
) -> None:
    """Play ROWS (JSONL) into OUTPUT and the files beside it, as `gym eval run` of NeMo Gym lays them out."""
    import asyncio

    from agent_server.nemo_gym.collection import Collection
    from gym_core import auth

    collection = Collection(output, repeats=repeats, limit=limit)
    counts = asyncio.run(collection.run(rows, head_url, token=auth.secret(), concurrency=concurrency, resume=resume))
    click.echo(f"{counts.scored} rollouts in {output}, {counts.failed} failures in {collection.failures.name}")
