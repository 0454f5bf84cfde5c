"""`palaestra dashboard`: the page that shows runs, rollouts and services."""

from __future__ import annotations

from pathlib import Path

import click

from palaestra.options import listen_options, parse_pairs


@click.command("dashboard")
@click.argument("places", nargs=-1, metavar="[PATH]...")
@click.option("--store", "stores", multiple=True, metavar="PATH|URL", help="a store; repeat for more")
@click.option("--watch", "watched", multiple=True, metavar="NAME=URL", help="a service to watch; repeat for more")
@click.option(
    "--tokenizer",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="a folder with tokenizer.json, for tokens of runs that keep none",
)
@listen_options
def command(
    places: tuple[str, ...],
    stores: tuple[str, ...],
    watched: tuple[str, ...],
    tokenizer: Path | None,
    host: str,
    port: int,
    parent_pid: int | None,
) -> None:
    """Show runs: PATH is a run's folder, a folder of runs (./runs where nothing is named), or a store.

    The page reads and never writes. A run of `palaestra train` says itself where its services are.
    """
    from gym_core import auth
    from gym_core.access import Access
    from gym_core.errors import UnknownName
    from gym_core.serve import run
    from palaestra.dashboard.app import build_app
    from palaestra.dashboard.library import Library
    from palaestra.dashboard.services import Services

    for place in places + stores:
        if "://" not in place and not Path(place).exists():
            raise UnknownName(
                f"there is nothing at {place}", field="store", hint="name a store, a run's folder, or a folder of runs"
            )
    token, access = auth.secret(), Access.configured()
    services = Services(parse_pairs(watched, "--watch"), token)
    app = build_app(Library(places + stores or ("runs",)), services, token=access, tokenizer=tokenizer)
    click.echo("Ctrl-C ends the dashboard; the address is below, open it in a browser.", err=True)
    run(app, host=host, port=port, token=access, parent_pid=parent_pid)
