"""`palaestra env serve`: environments over HTTP; one of them with a scripted policy, and anew whenever it is saved."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from palaestra.options import listen_options, paths_option

if TYPE_CHECKING:
    from aiohttp import web

    from gym_core.fleet import FleetPlace
    from gym_core.registry import LoadedEnvironment
    from gym_core.service_config import EnvironmentServiceConfig

LOOK_EVERY_S = 0.25
WATCHED = (".py", ".toml", ".jsonl", ".json", ".txt", ".csv")


@click.command("serve")
@click.argument("names", nargs=-1, metavar="[NAME|PATH]...")
@paths_option
@listen_options
@click.option(
    "--workers",
    type=click.IntRange(1),
    help="worker processes for the environments that need them, of each process  [default: 2]",
)
@click.option(
    "--processes", default=1, show_default=True, type=click.IntRange(1, 64), help="processes that share the port"
)
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="where sessions are kept over a restart, for environments that declare their state",
)
@click.option("--fleet", "slot", hidden=True, default="", help="SLOT:SIZE:FOLDER of one of several processes")
@click.option(
    "--config",
    "config_file",
    type=click.Path(exists=True, path_type=Path),
    help="TOML with [environments] and [judge]",
)
@click.option(
    "--policy",
    type=click.Choice(["oracle", "idle", "random", "none"]),
    help="play sample rollouts and show them  [default: oracle for a path, none for names]",
)
@click.option("--rollouts", default=3, show_default=True, type=click.IntRange(1, 100), help="how many are shown")
@click.option("--reload/--no-reload", default=None, help="serve anew what is saved  [default: for a path]")
def serve(
    names: tuple[str, ...],
    paths: tuple[Path, ...],
    host: str,
    port: int,
    parent_pid: int | None,
    workers: int | None,
    processes: int,
    state_dir: Path | None,
    slot: str,
    config_file: Path | None,
    policy: str | None,
    rollouts: int,
    reload: bool | None,
) -> None:
    """Serve environments over HTTP (all of them where none is named), each under /NAME.

    A path (./lookup.py, ./lookup/) is served with a policy that plays without a model, and again after every save.
    """
    from gym_core import serve as server
    from palaestra.commands.env_target import is_place

    place = len(names) == 1 and is_place(names[0]) and parent_pid is None
    policy = policy or ("oracle" if place else "none")
    reload = place if reload is None else reload
    if (reload or policy != "none") and len(names) != 1:
        raise click.UsageError("--policy and --reload want one environment")
    if processes > 1 and (reload or policy != "none"):
        raise click.UsageError("--processes serves; --policy and --reload want one process")
    overrides: dict[str, object] = {} if workers is None else {"workers": workers}
    if state_dir is not None:
        overrides["state_dir"] = str(state_dir)
    if reload or policy != "none":
        asyncio.run(_Live(names[0], paths, host, port, policy, rollouts, reload, config_file, overrides).run())
        return
    if processes > 1:
        from palaestra.fleet import serve_together

        arguments = _arguments(names, paths, workers, state_dir, config_file)
        _loaded(names, paths)  # what is wrong is said once, before anything starts
        config = _configured(config_file, overrides)
        shares_secret = bool(config.session_secret or config.state_dir)
        serve_together(arguments, processes, host, port, parent_pid, shares_secret)
        return
    fleet = _fleet_place(slot)
    app = _app(_loaded(names, paths), config_file, overrides, fleet)
    shared_with = None if fleet is None else fleet.socket
    server.run(app, host=host, port=port, parent_pid=parent_pid, shared_with=shared_with)


def _arguments(
    names: tuple[str, ...],
    paths: tuple[Path, ...],
    workers: int | None,
    state_dir: Path | None,
    config_file: Path | None,
) -> list[str]:
    """The same command for one of several processes."""
    given = [("--path", path) for path in paths]
    given += [("--workers", workers), ("--state-dir", state_dir), ("--config", config_file)]  # type: ignore[list-item]
    options = [part for option, value in given if value is not None for part in (option, str(value))]
    return ["env", "serve", *names, *options, "--policy", "none", "--no-reload"]


def _fleet_place(text: str) -> FleetPlace | None:
    from gym_core.fleet import FleetPlace

    if not text:
        return None
    slot, size, folder = text.split(":", 2)
    return FleetPlace(int(slot), int(size), Path(folder))


def _loaded(names: tuple[str, ...], paths: tuple[Path, ...]) -> list[LoadedEnvironment]:
    from gym_core.registry import Registry
    from palaestra.commands.env_target import find

    if not names:
        registry = Registry.discover(paths)
        return [registry.load(name) for name in registry.names()]
    found = [find(name, paths) for name in names]
    return [registry.load(name) for registry, named in found for name in named]


def environment_app(names: tuple[str, ...], config_file: Path | None) -> web.Application:
    """The application of these environments, for whoever plays them in its own process."""
    return _app(_loaded(names, ()), config_file, {})


def _app(
    loaded: list[LoadedEnvironment],
    config_file: Path | None,
    overrides: dict[str, object],
    fleet: FleetPlace | None = None,
) -> web.Application:
    from gym_core.config import load
    from gym_core.judge.config import JudgeConfig
    from gym_core.server import build_app

    config = _configured(config_file, overrides)
    return build_app(loaded, config, load(JudgeConfig, file=config_file, section="judge"), fleet)


def _configured(config_file: Path | None, overrides: dict[str, object]) -> EnvironmentServiceConfig:
    from gym_core.config import load
    from gym_core.service_config import EnvironmentServiceConfig

    return load(EnvironmentServiceConfig, file=config_file, section="environments", overrides=overrides)


class _Live:
    """One environment, served and shown; after a save the new one takes the port, a broken one leaves the old."""

    def __init__(
        self,
        name: str,
        paths: tuple[Path, ...],
        host: str,
        port: int,
        policy: str,
        rollouts: int,
        reload: bool,
        config_file: Path | None,
        overrides: dict[str, object],
    ) -> None:
        self._name, self._paths = name, paths
        self._host, self._port = host, port
        self._policy, self._rollouts, self._reload = policy, rollouts, reload
        self._configured = (config_file, overrides)
        self._served: Any = None

    async def run(self) -> None:
        """Until SIGTERM; a first SIGINT ends it in order, a second one at once, also inside an author's endless loop.

        Raises what is wrong with the environment as it is found first.
        """
        sys.dont_write_bytecode = True  # a second save within the same second would find the first one's bytecode
        stop = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
        place, loaded = self._load()
        try:
            await self._serve(loaded)
            print(f'{{"ready":true,"url":"{self._served.url}","pid":{os.getpid()}}}', flush=True)
            await self._show(loaded)
            if self._reload:
                await self._follow(place, stop)
            await stop.wait()
        finally:
            if self._served is not None:
                await self._served.close()

    def _load(self) -> tuple[Path, LoadedEnvironment]:
        """The environment as it is now on the disk, and the place to watch: its folder, or its file."""
        from gym_core.errors import BadRequest
        from gym_core.manifest import FILE_NAME
        from palaestra.commands.env_target import find

        registry, names = find(self._name, self._paths)
        if len(names) != 1:
            raise BadRequest(f"{self._name} holds {', '.join(names)}: name one", field="name")
        place = registry.place(names[0])
        return place.parent if place.name == FILE_NAME else place, registry.load(names[0])

    async def _serve(self, loaded: LoadedEnvironment) -> None:
        """Serve this one in place of the one before, on the same port."""
        from gym_core.access import Access
        from gym_core.serve import start

        app = _app([loaded], *self._configured)
        if self._served is not None:
            await self._served.close()
        self._served = await start(app, self._host, self._port, Access.configured(), grace_s=1.0)
        self._port = self._served.port

    async def _show(self, loaded: LoadedEnvironment) -> None:
        from palaestra.commands.env_show import show

        if self._policy != "none":
            await show(loaded.cls(), self._served.url, self._policy, self._rollouts, _say)

    async def _follow(self, place: Path, stop: asyncio.Event) -> None:
        """Serve anew after each save that loads."""
        seen = _signature(place)
        _say(f"watching {place} (Ctrl-C ends)")
        while not stop.is_set():
            await asyncio.sleep(LOOK_EVERY_S)
            now = _signature(place)
            if now == seen:
                continue
            seen = now
            loaded = self._again(place)
            if loaded is not None:
                await self._serve(loaded)
                _say(click.style("saved: served anew", fg="green"))
                await self._show(loaded)

    def _again(self, place: Path) -> LoadedEnvironment | None:
        """The saved environment, None where it does not load or makes no task; why is said, and nothing is lost."""
        from gym_core.errors import PalaestraError
        from gym_core.loading import forget, import_fault

        dropped = forget(place)
        try:
            _, loaded = self._load()
            _try_out(loaded)
            return loaded
        except PalaestraError as error:
            why = error.message
        except Exception as error:  # whatever the author's `make` raises
            why = import_fault(place if place.is_file() else place / "environment.py", error).message
        forget(place)
        sys.modules.update(dropped)
        _say(click.style(f"kept the last good one: {why}", fg="red"))
        return None


def _try_out(loaded: LoadedEnvironment) -> None:
    from gym_core.generate import make_tasks

    environment = loaded.cls()
    if environment.overrides("make"):
        make_tasks(environment, seed=0, level=environment.levels[0], count=1)


def _signature(place: Path) -> dict[str, tuple[int, int]]:
    """When and how large each watched file is."""
    files = [place] if place.is_file() else [path for path in place.rglob("*") if path.suffix in WATCHED]
    found = {}
    for path in files:
        try:
            stat = path.stat()
        except FileNotFoundError:  # an editor is just replacing it
            continue
        found[str(path)] = (stat.st_mtime_ns, stat.st_size)
    return found


_say: Callable[[str], None] = click.echo
