"""The one HTTP service of any environments: each under its name, and at the root too when it is the only one.

app = build_app([registry.load("math")], EnvironmentServiceConfig(), JudgeConfig())
run(app, port=8200)                                     # gym_core.serve
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

from aiohttp import web

from gym_core.crew import Crew
from gym_core.errors import BadRequest
from gym_core.fleet import FleetPlace, join_fleet
from gym_core.judge.client import JudgeClient
from gym_core.judge.config import JudgeConfig
from gym_core.judge.metrics import JudgeMetrics
from gym_core.registry import LoadedEnvironment
from gym_core.routes import Routes
from gym_core.serve import DOOR, harden, json_reply
from gym_core.service import EnvironmentService
from gym_core.service_config import EnvironmentServiceConfig
from gym_core.state_dir import FIRST_WORKER, alone, read_secret
from gym_core.telemetry import Metrics
from gym_core.verdict_cache import VerdictCache

__all__ = ["SERVICES", "EnvironmentServiceConfig", "build_app"]

SERVICES = web.AppKey("palaestra_services", dict[str, EnvironmentService])
"""The services of an app by environment name (embedded use and tests)."""

_CREW = web.AppKey("palaestra_crew", Crew)
_JUDGE = web.AppKey("palaestra_judge", JudgeClient)

WORKERS_AFTER_S = 0.1
"""Worker processes start this long after the server, which should be ready first."""


def build_app(
    environments: Sequence[LoadedEnvironment],
    config: EnvironmentServiceConfig | None = None,
    judge: JudgeConfig | None = None,
    fleet: FleetPlace | None = None,
) -> web.Application:
    """The hardened app; `judge` is the section `[judge]`, without it nothing is judged; `fleet` is this process's place
    among those that serve one port together.

    Raises `BadRequest` for no environment, two of one name, or a judge whose key or recording is missing.
    """
    config = config or EnvironmentServiceConfig()
    if not environments:
        raise BadRequest("there is no environment to serve", field="environments")
    secret, worker = _identity(config, fleet)
    app = web.Application()
    if config.state_dir:
        app.cleanup_ctx.append(partial(_alone, folder=Path(config.state_dir), worker=worker))
    crew = app[_CREW] = Crew(config.workers, max_jobs=config.worker_jobs)
    client = app[_JUDGE] = JudgeClient(judge or JudgeConfig())
    cache = VerdictCache(config.verdict_cache) if config.verdict_cache > 0 else None
    services = app[SERVICES] = {
        loaded.name: EnvironmentService(
            loaded, config, secret=secret, worker=worker, crew=crew, cache=cache, judge=client
        )
        for loaded in environments
    }
    if len(services) < len(environments):
        raise BadRequest("two environments have the same name", field="environments")
    _add_common(app, services)
    routes = [Routes(service) for service in services.values()]
    if len(routes) == 1:
        routes[0].add_to(app.router, "")
    for route in routes:
        route.add_to(app.router, f"/{route.service.name}")
    app.cleanup_ctx.append(_keep)
    if fleet is not None:
        join_fleet(app, fleet, services)
    harden(app, "environment", config.token, max_body_bytes=config.max_body_bytes, scope="environment:verify")
    if fleet is not None:
        app[DOOR].num_processes = str(fleet.size)
    _measure(app[DOOR].metrics, routes)
    client.metrics = JudgeMetrics(app[DOOR].metrics)
    return app


def _identity(config: EnvironmentServiceConfig, fleet: FleetPlace | None) -> tuple[bytes, str]:
    """What session ids are signed with, and this process's name in them; both last where sessions are kept."""
    if config.state_dir:
        secret = config.session_secret or read_secret(Path(config.state_dir))
        worker = config.worker or FIRST_WORKER
    else:
        secret, worker = config.session_secret or secrets.token_hex(32), config.worker or secrets.token_hex(4)
    return secret.encode(), worker if fleet is None else fleet.worker


async def _alone(_: web.Application, folder: Path, worker: str) -> AsyncIterator[None]:
    with alone(folder, worker):
        yield


def _add_common(app: web.Application, services: dict[str, EnvironmentService]) -> None:
    status = {"status": "ok", "environments": {name: found.environment.version for name, found in services.items()}}

    able = [found for found in services.values() if found.environment.overrides("unavailable")]

    async def healthz(_: web.Request) -> web.Response:
        missing = {found.name: said for found in able if (said := found.environment.unavailable())}
        return json_reply({**status, "unavailable": missing} if missing else status)

    async def manifests(_: web.Request) -> web.Response:
        return json_reply({"environments": [service.manifest() for service in services.values()]})

    app.router.add_get("/", healthz)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/environments", manifests)


async def _keep(app: web.Application) -> AsyncIterator[None]:
    """Sweepers and workers, from the start of the app to its end."""
    loop = asyncio.get_running_loop()
    services = app[SERVICES].values()
    for service in services:
        service.restore()
    sweepers = [loop.create_task(service.sessions.keep_sweeping()) for service in services]
    wanted = any(service.pool for service in services)
    starter = loop.call_later(WORKERS_AFTER_S, app[_CREW].start) if wanted else None
    yield
    if starter is not None:
        starter.cancel()
    for sweeper in sweepers:
        sweeper.cancel()
    await asyncio.wait(sweepers)
    for service in services:
        await service.close()
    await app[_CREW].close()
    await app[_JUDGE].close()


def _measure(metrics: Metrics, routes: list[Routes]) -> None:
    """Gauges that are read when somebody asks; they cost a request nothing."""
    sessions = metrics.gauge("palaestra_sessions_open", "Open sessions", ("environment",))
    groups = metrics.gauge("palaestra_groups_open", "Groups that wait or were judged lately", ("environment",))
    calls = metrics.read_counter("palaestra_tool_calls", "Tool calls answered", ("environment", "answer"))
    queued = metrics.gauge("palaestra_worker_queue", "Jobs waiting for a worker", ("environment",))
    cached = metrics.read_counter("palaestra_verdict_cache", "Verdicts asked of the cache", ("environment", "answer"))
    kills = metrics.read_counter("palaestra_worker_kills", "Workers killed for overrunning", ("environment",))
    for route in routes:
        service = route.service
        sessions.labels(service.name).set_function(service.sessions.__len__)
        groups.labels(service.name).set_function(service.groups.__len__)
        for answer in route.tool_calls:
            calls.read(partial(route.tool_calls.__getitem__, answer), service.name, answer)
        if service.cache is not None:
            for answer in service.cached:
                cached.read(partial(service.cached.__getitem__, answer), service.name, answer)
        if (pool := service.pool) is not None:
            queued.labels(service.name).set_function(partial(getattr, pool, "queued"))
            kills.read(partial(getattr, pool, "kills"), service.name)
