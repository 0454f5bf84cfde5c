"""One address in front of several policy servers: requests go to one of them, weights and canaries to all.

    request ─▶ sticky by rollout ─▶ replica ─▶ first bytes ─▶ the caller
                    ▲                  └─ gone before that: another one      └─ gone after that: a typed error

Sampling has no effect but its answer, so a request may be asked again as long as nothing of an answer was passed on;
of all answers but streams of events nothing is before they are complete. What all replicas are asked: together.py.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from multidict import CIMultiDict

from gym_core import headers
from gym_core.access import Access
from gym_core.client import CONNECT_TIMEOUT_S, Client, Token
from gym_core.errors import DeadlineExceeded, PalaestraError, PolicyFault, Unavailable
from gym_core.serve import DOOR, deadline_s, json_reply, read_json
from gym_core.telemetry import Metrics
from model.weight_memory import WeightMemory
from policy_server.app import guard
from policy_server.openai_error import openai_error
from policy_server.replicas.engine_metrics import EngineMetrics
from policy_server.replicas.pool import Pool, Process, Replica, Spawn, nobody, unless_gone
from policy_server.replicas.together import Together
from policy_server.weight_body import arriving, fill, read_head, require_fit
from policy_server.weights import WeightsParams

_EVENT_END = b"\n\n"
_HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date", "server"}
_TURN = re.compile(r"-\d+$")
_WAIT_S = 60.0
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S)
"""Of a connection; what is asked over it is under the deadline of its request."""

_DEADLINE_S = 3600.0
_GRACE_S = 5.0
"""What a replica may take beyond a request's deadline to say itself that it has passed."""


class Router:
    """The handlers. `publish_s`: a replica that has not taken new weights by then is evicted."""

    def __init__(self, count: int, spawn: Spawn, *, token: Token = None, publish_s: float = 60.0, **options: Any):
        self._together = Together(publish_s)
        self.pool = Pool(count, spawn, self._together.welcome, token=token, **options)
        self._engines = EngineMetrics(self.pool)
        self._session: aiohttp.ClientSession | None = None

    def app(self, token: Access | str | None = None) -> web.Application:
        """The app; its replicas start and end with it."""
        app = web.Application()
        app.router.add_post("/weights", self.weights)
        app.router.add_post("/weights/body", self.weights_body)
        app.router.add_get("/weights/checksums", self.checksums)
        app.router.add_post("/score", self.score)
        app.router.add_get("/version", self.version)
        app.router.add_get("/replicas", self.replicas)
        app.router.add_get("/metrics", self.metrics)
        guard(app, token)
        app.router.add_route("*", "/{path:.+}", self.forward)
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._close)
        _publish_stats(self.pool, app[DOOR].metrics)
        app[DOOR].metrics.registry.register(self._engines)
        return app

    async def _start(self, _: web.Application) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=_TIMEOUT, auto_decompress=False
        )
        try:
            await self.pool.start()
        except BaseException:
            await self._session.close()
            raise

    async def _close(self, _: web.Application) -> None:
        await self.pool.close()
        if self._session is not None:
            await self._session.close()
        await self._together.close()

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, to another replica where one is gone before any of its answer was passed on.

        Where none is up it waits for one, a minute at most. A request that ends every replica it comes to is not
        passed on for ever: to each of them once, and once more. All of it is under the caller's deadline.
        """
        given_s = deadline_s(request, _DEADLINE_S)
        end = asyncio.get_running_loop().time() + given_s
        body, key = await request.read(), rollout_of(request)
        limit_s, tried = min(given_s, _WAIT_S), dict[int, Process | None]()
        error: PalaestraError = nobody()
        for _ in range(len(self.pool.replicas) + 1):
            if (replica := self.pool.choose(key, self.pool.still(tried))) is None:
                try:
                    await self.pool.wait_for_one(limit_s, tried)
                except Unavailable as none_came:
                    raise (error if tried else none_came) from None
                replica = self.pool.choose(key, self.pool.still(tried))
                assert replica is not None
            tried[replica.number] = replica.process
            answer = web.StreamResponse()
            try:
                async with asyncio.timeout_at(end + _GRACE_S):
                    return await self._pass_on(request, body, replica, answer, end)
            except TimeoutError:
                late = DeadlineExceeded(f"replica {replica.number} did not answer within {given_s:g} s", stage="route")
                if answer.prepared:
                    return await _break_off(answer, late)
                raise late from None
            except Unavailable as failure:
                if answer.prepared:
                    return await _break_off(answer, failure)
                error = failure
        raise error

    async def _pass_on(
        self, request: web.Request, body: bytes, replica: Replica, answer: web.StreamResponse, end: float
    ) -> web.StreamResponse:
        """The replica's answer: a stream of events piece by piece, as `answer`; anything else once all of it is here,
        so that a replica that is lost in the middle of it costs nothing."""
        assert self._session is not None and replica.process is not None
        sent = CIMultiDict(item for item in request.headers.items() if item[0].lower() not in _HOP_HEADERS)
        if headers.DEADLINE in sent:
            sent[headers.DEADLINE] = f"{max(0.0, end - asyncio.get_running_loop().time()):.3f}"
        replica.num_requests += 1
        replica.num_running += 1
        try:
            url = replica.process.url + request.path_qs
            asked = self._session.request(request.method, url, data=body, headers=sent, allow_redirects=False)
            upstream = await unless_gone(replica, _entered(asked))
            try:
                told = [item for item in upstream.headers.items() if item[0].lower() not in _HOP_HEADERS]
                if upstream.content_type == "text/event-stream":
                    return await _stream(request, replica, upstream, answer, told)
                whole = await unless_gone(replica, upstream.read())
                if upstream.status == 503 and not whole:
                    raise Unavailable(f"replica {replica.number} is closing", stage="route")
                return web.Response(status=upstream.status, body=whole, headers=CIMultiDict(told))
            finally:
                upstream.close()
        finally:
            replica.num_running -= 1

    async def weights(self, request: web.Request) -> web.Response:
        return json_reply(await self._together.publish(self.pool, await read_json(request, WeightsParams)))

    async def weights_body(self, request: web.Request) -> web.Response:
        """Receive once, into memory that all replicas then serve from."""
        async with arriving(request):
            params = await read_head(request)
        require_fit(params, await self._weight_bytes())
        memory = WeightMemory(params.nbytes, shared=True)
        try:
            async with arriving(request):
                await fill(request, memory.tensor)
            here = msgspec.structs.replace(params, memory=memory.handle, nbytes=0)
            return json_reply(await self._together.publish(self.pool, here))
        finally:
            memory.close()

    async def _weight_bytes(self) -> int:
        """How large the served model is, as a replica says. Raises what it answers where it takes no memory."""
        await self.pool.wait_for_one(self._together.publish_s)
        replica = next((replica for replica in self.pool.replicas if replica.up), None)
        if replica is None:
            raise nobody()
        told = await unless_gone(replica, replica.asked().get_json("/weights/bytes"))
        return int(told["nbytes"])

    async def checksums(self, _: web.Request) -> web.Response:
        return json_reply(await self._together.agreed(self.pool, "checksums", _checksums))

    async def score(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await read_json(request, dict[str, Any])
        return json_reply(
            await self._together.agreed(self.pool, "scores", lambda client: client.post_json("/score", body))
        )

    async def version(self, request: web.Request) -> web.StreamResponse:
        return await self.forward(request)

    async def metrics(self, request: web.Request) -> web.Response:
        """The router's own, and the engines' of all replicas as sums."""
        await self._engines.read()
        told = request.app[DOOR].metrics
        return web.Response(body=told.text(), headers={"Content-Type": told.content_type})

    async def replicas(self, _: web.Request) -> web.Response:
        """Who is up, for people and tests."""
        return json_reply(
            [
                {
                    "replica": replica.number,
                    "up": replica.up,
                    "url": replica.process.url if replica.process is not None else "",
                    "version": replica.version,
                    "requests": replica.num_requests,
                    "running": replica.num_running,
                    "restarts": replica.num_restarts,
                }
                for replica in self.pool.replicas
            ]
        )


def rollout_of(request: web.Request) -> str:
    """What keeps the turns of a rollout together: its idempotency key without the turn."""
    return _TURN.sub("", request.headers.get(headers.IDEMPOTENCY, ""))


async def _checksums(client: Client) -> Any:
    return await client.get_json("/weights/checksums")


async def _entered(asked: Any) -> aiohttp.ClientResponse:
    response: aiohttp.ClientResponse = await asked
    return response


async def _stream(
    request: web.Request,
    replica: Replica,
    upstream: aiohttp.ClientResponse,
    answer: web.StreamResponse,
    told: list[tuple[str, str]],
) -> web.StreamResponse:
    """Whole events only: where the replica is lost in the middle of one, the client is not left with half a line."""
    answer.set_status(upstream.status)
    for name, value in told:
        answer.headers.add(name, value)
    rest = b""
    while piece := await unless_gone(replica, upstream.content.readany()):
        whole, end, rest = (rest + piece).rpartition(_EVENT_END)
        if end:
            if not answer.prepared:
                await answer.prepare(request)
            await answer.write(whole + end)
    if not answer.prepared:
        await answer.prepare(request)
    await answer.write_eof(rest)
    return answer


async def _break_off(answer: web.StreamResponse, failure: PalaestraError) -> web.StreamResponse:
    """End a stream of events that has begun, with an error event."""
    fault = failure
    if not isinstance(failure, DeadlineExceeded):
        fault = PolicyFault(f"the replica was lost in the middle of its answer: {failure.message}", stage="generate")
    body = msgspec.json.encode(openai_error(fault.info(), fault.status))
    await answer.write(b"data: " + body + b"\n\n")
    await answer.write_eof()
    return answer


def _publish_stats(pool: Pool, metrics: Metrics) -> None:
    for name, read in _STATS.items():
        gauge = metrics.gauge(f"palaestra_replica_{name}", f"Policy replica: {name}", ("replica",))
        for replica in pool.replicas:
            gauge.labels(str(replica.number)).set_function(partial(read, replica))


_STATS: dict[str, Callable[[Replica], float]] = {
    "up": lambda replica: float(replica.up),
    "requests": lambda replica: replica.num_requests,
    "running": lambda replica: replica.num_running,
    "restarts": lambda replica: replica.num_restarts,
    "version": lambda replica: replica.version,
}
