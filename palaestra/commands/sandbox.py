"""`palaestra sandbox`: run untrusted programs for environments that cannot make sandboxes themselves."""

from __future__ import annotations

from pathlib import Path

import click

from palaestra.options import listen_options


@click.group("sandbox")
def command() -> None:
    """The sandbox service: runs untrusted programs."""


@command.command("serve")
@click.option("--door", type=click.Path(path_type=Path), help="a socket that cages in containers connect to")
@click.option("--provider", help="bubblewrap, docker or plain on this machine  [default: the strongest]")
@click.option("--slots", type=click.IntRange(1, 64), help="programs at once, without a door  [default: 2]")
@click.option("--config", "config_file", type=click.Path(exists=True, path_type=Path), help="TOML with [sandbox]")
@listen_options
def serve(
    door: Path | None,
    provider: str | None,
    slots: int | None,
    config_file: Path | None,
    host: str,
    port: int,
    parent_pid: int | None,
) -> None:
    """Serve POST /run. Environments find it by PALAESTRA_SANDBOX_URL."""
    from gym_core.access import Access
    from gym_core.config import load
    from gym_core.errors import BadRequest
    from gym_core.sandbox.choose import open_sandbox
    from gym_core.sandbox.door import folder_of
    from gym_core.sandbox.service import SandboxServiceConfig, build_app, from_door, from_provider
    from gym_core.serve import run

    overrides = {"door": None if door is None else str(door), "provider": provider, "slots": slots}
    config = load(SandboxServiceConfig, file=config_file, section="sandbox", overrides=overrides)
    if config.door and config.provider:
        raise BadRequest("a service with a door has no sandboxes of its own", field="provider")
    if config.door:
        folder_of(Path(config.door))
        supply, name, strong = from_door(Path(config.door)), "jail", True
    else:
        with open_sandbox(config.provider) as found:
            name, strong = found.name, found.strong
            supply = from_provider(found.provider, config.slots)
    access = Access.configured()
    app = build_app(supply, name=name, strong=strong, queue_limit=config.queue_limit, token=access)
    run(app, host=host, port=port, token=access, parent_pid=parent_pid)
