"""The agent server's routes: one row, a batch as a stream, taking back, looking up.

POST /run            row + options ─▶ one rollout (JSON, or one frame for who accepts frames)
POST /rollouts       {"rows": [...]} ─▶ frames in the order they finish
POST /cancel         {"run_id", "rollout_ids"}
POST /aggregate_metrics  scored rollouts ─▶ means, pass@k
GET  /rollouts/{id}  a stored rollout
GET  /environments, POST /environments/{name}/tasks
"""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import Any

import msgspec
from aiohttp import web

from agent_server import catalogue
from agent_server.catalogue import DIRECTORY
from agent_server.config import AgentConfig
from agent_server.directory import Directory
from agent_server.edge import run_reply
from agent_server.metrics import AgentMetrics
from agent_server.nemo_gym import resources as nemo_gym
from agent_server.play import Play
from agent_server.player import Player
from agent_server.policy import Policy
from agent_server.rollouts import Rollouts, check_all, read_request
from gym_core.access import Access
from gym_core.aggregate import aggregate
from gym_core.client import Client, Token
from gym_core.contracts import Rollout
from gym_core.errors import BadRequest, UnknownName
from gym_core.requests import AggregateRequest, CancelRequest
from gym_core.serve import DOOR, harden, json_reply, read_json
from gym_core.store import Store
from gym_core.telemetry import Metrics
from gym_core.tokens import FRAME_TYPE, pack_frame

SERVER = "agent"
ROLLOUTS: web.AppKey[Rollouts] = web.AppKey("rollouts", Rollouts)


def build_app(
    config: AgentConfig,
    *,
    token: Token = None,
    access: Access | None = None,
    embedded: web.Application | None = None,
) -> web.Application:
    """The agent server as an application; clients and store open when it starts and close with it.

    `token` is what it shows to environments and policy, `access` who may call it; without one a `token` that is text
    is asked of everybody else as well. `embedded`: an environment service whose environments are played in this
    process, without a socket between them; it starts and ends with the agent.
    """
    app = web.Application()
    app.router.add_post("/run", _run)
    app.router.add_post("/rollouts", _batch)
    app.router.add_post("/cancel", _cancel)
    app.router.add_post("/aggregate_metrics", _aggregate)
    catalogue.add_to(app.router)
    app.router.add_get("/rollouts/{rollout_id:.+}", _show)
    app.cleanup_ctx.append(lambda app: _open(app, config, token, embedded))
    harden(
        app,
        server_name=SERVER,
        token=access or Access.of(token if isinstance(token, str) else None),
        scope="rollouts:run",
        scopes={"/rollouts/{rollout_id}": "rollouts:read"},
        stall_s=config.stall_s,
    )
    return app


async def _open(app: web.Application, config: AgentConfig, token: Token, embedded: web.Application | None) -> Any:
    async with contextlib.AsyncExitStack() as stack:
        clients = {name: _client(url, token, config.max_running) for name, url in config.environments.items()}
        if embedded is not None:
            clients |= await _embed(embedded, stack)
        await stack.enter_async_context(_keep(app, config, token, clients))
        yield


async def _embed(embedded: web.Application, stack: contextlib.AsyncExitStack) -> dict[str, Client]:
    """Start the environments of an app in this process; a client of each."""
    from gym_core.local import LocalEnvironment, running
    from gym_core.server import SERVICES

    await stack.enter_async_context(running(embedded))
    return {name: LocalEnvironment(embedded, name) for name in embedded[SERVICES]}


@contextlib.asynccontextmanager
async def _keep(app: web.Application, config: AgentConfig, token: Token, clients: dict[str, Client]) -> Any:
    directory = Directory(clients, config.environment_s)
    server = Client(config.policy_url, token=token, connection_limit=config.max_running, parcels=True)
    policy = Policy(server, config.model)
    store = await Store.open(config.store) if config.store else None
    metrics = AgentMetrics(app[DOOR].metrics)
    player = Player(config, directory, policy, metrics)
    rollouts = Rollouts(config, player, store, metrics)
    app[ROLLOUTS], app[DIRECTORY] = rollouts, directory
    _measure(app[DOOR].metrics, player)
    yield
    await rollouts.close()
    await directory.close()
    await policy.close()
    if store is not None:
        await store.close()


def _measure(metrics: Metrics, player: Player) -> None:
    """Gauges of the circuit breakers, read when somebody asks."""
    state = metrics.gauge("palaestra_circuit", "0 closed, 1 half open, 2 open", ("environment",))
    opened = metrics.gauge("palaestra_circuit_opened", "Times a circuit opened", ("environment",))
    refused = metrics.gauge("palaestra_circuit_refused", "Rollouts an open circuit refused", ("environment",))
    for name, breaker in player.breakers.items():
        for gauge, of in ((state, "state"), (opened, "opened"), (refused, "refused")):
            gauge.labels(name).set_function(partial(getattr, breaker, of))


def _client(url: str, token: Token, limit: int) -> Client:
    """The client of a service of ours, or of a foreign one (`nemo_gym+http://…`), which never sees our token."""
    if url.startswith(nemo_gym.SCHEME):
        return nemo_gym.ResourcesServer(url, connection_limit=limit)
    return Client(url, token=token, connection_limit=limit, parcels=True)


async def _run(request: web.Request) -> web.Response:
    rollouts = request.app[ROLLOUTS]
    asked = read_request(await read_json(request))
    await request.app[DIRECTORY].find(asked.row)
    frames = FRAME_TYPE in request.headers.get("Accept", "")
    rollouts.check_room(1)
    # The rollout goes on when the caller hangs up: asking again with its id finds it.
    play = await asyncio.shield(rollouts.start(asked))
    return _frame(play.rollout, play.blob) if frames else _json_reply(play, request)


def _json_reply(play: Play, request: web.Request) -> web.Response:
    body = run_reply(play, with_tokens=request.query.get("tokens", "1") != "0")
    return json_reply(body)


def _frame(rollout: Rollout, blob: bytes) -> web.Response:
    return web.Response(body=pack_frame(msgspec.json.encode(rollout), blob), content_type=FRAME_TYPE)


async def _batch(request: web.Request) -> web.StreamResponse:
    rollouts = request.app[ROLLOUTS]
    body: Any = await read_json(request)
    rows = body.get("rows") if isinstance(body, dict) else None
    if not isinstance(rows, list) or not rows:
        raise BadRequest("`rows` must be a non-empty list of task rows", field="rows")
    requests = await check_all(rows)
    for asked in requests:
        await request.app[DIRECTORY].find(asked.row)
    await rollouts.look_up(requests)
    rollouts.check_room(len(requests))
    reply = web.StreamResponse(headers={"Content-Type": FRAME_TYPE, "X-Palaestra-Count": str(len(requests))})
    await reply.prepare(request)
    async with contextlib.aclosing(rollouts.stream(requests)) as finished:
        async for rollout, blob in finished:
            await reply.write(pack_frame(msgspec.json.encode(rollout), blob))
    await reply.write_eof()
    return reply


async def _cancel(request: web.Request) -> web.Response:
    asked: CancelRequest = await read_json(request, CancelRequest)
    if asked.run_id is None and not asked.rollout_ids:
        raise BadRequest("say what to take back: `run_id` or `rollout_ids`", field="run_id")
    return json_reply({"cancelled": request.app[ROLLOUTS].cancel(asked.run_id, asked.rollout_ids)})


async def _aggregate(request: web.Request) -> web.Response:
    asked: AggregateRequest = await read_json(request, AggregateRequest)
    return json_reply(aggregate(asked.verify_responses))


async def _show(request: web.Request) -> web.Response:
    rollout_id = request.match_info["rollout_id"]
    stored = await request.app[ROLLOUTS].stored(rollout_id)
    if stored is None:
        raise UnknownName(f"no rollout {rollout_id!r} is stored here", field="rollout_id")
    if FRAME_TYPE in request.headers.get("Accept", ""):
        return _frame(*stored)
    return json_reply(stored[0])
