"""`palaestra agent`: serve the rollout API."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from palaestra.options import listen_options, parse_pairs

if TYPE_CHECKING:
    from aiohttp import web

    from agent_server.config import AgentConfig


@click.group("agent")
def command() -> None:
    """The agent server: plays rollouts."""


@command.command("serve")
@click.option(
    "--env", "environments", multiple=True, metavar="NAME=URL", help="an environment service; repeat for more"
)
@click.option(
    "--embed", "embedded", multiple=True, metavar="NAME|PATH", help="an environment in this process; repeat for more"
)
@click.option("--policy", "policy_url", default="", help="URL of the policy server")
@click.option("--store", default=None, help="where rollouts are kept: a path or a database URL")
@click.option("--dashboard", is_flag=True, help="show the store's runs at /dashboard/")
@click.option(
    "--config", "config_file", type=click.Path(exists=True, path_type=Path), help="TOML with an [agent] table"
)
@listen_options
def serve(
    environments: tuple[str, ...],
    embedded: tuple[str, ...],
    policy_url: str,
    store: str | None,
    dashboard: bool,
    config_file: Path | None,
    host: str,
    port: int,
    parent_pid: int | None,
) -> None:
    """Serve POST /run and POST /rollouts."""
    from agent_server.app import build_app
    from agent_server.config import AgentConfig
    from gym_core import auth
    from gym_core.access import Access
    from gym_core.config import load
    from gym_core.errors import BadRequest
    from gym_core.serve import run
    from palaestra.commands.env_serve import environment_app

    overrides: dict[str, object] = {}
    if environments:
        overrides["environments"] = parse_pairs(environments, "--env")
    if policy_url:
        overrides["policy_url"] = policy_url
    if store is not None:
        overrides["store"] = store
    config = load(AgentConfig, file=config_file, section="agent", overrides=overrides)
    if not config.policy_url:
        raise BadRequest("the agent server needs a policy", field="policy_url", hint="--policy http://127.0.0.1:8000")
    app = build_app(
        config,
        token=auth.own_token(),
        access=Access.configured(),
        embedded=environment_app(embedded, config_file) if embedded else None,
    )
    if dashboard:
        _mount_dashboard(app, config, auth.secret())
    run(app, host=host, port=port, parent_pid=parent_pid)


def _mount_dashboard(app: web.Application, config: AgentConfig, token: str | None) -> None:
    """The page over the agent's own store, watching the services that the agent calls."""
    from gym_core.errors import BadRequest
    from palaestra.dashboard.app import mount
    from palaestra.dashboard.library import Library
    from palaestra.dashboard.services import Services, origin

    if not config.store:
        raise BadRequest("a dashboard shows a store", field="store", hint="--store rollouts.db")
    watched = {"policy": origin(config.policy_url)}
    for number, url in enumerate(dict.fromkeys(origin(url) for url in config.environments.values())):
        watched["environments" if not number else f"environments {number + 1}"] = url
    mount(app, Library([config.store]), Services(watched, token))
