"""One address in front of several policy servers: requests go to one of them, weights and canaries to all.

    request ─▶ sticky by rollout ─▶ replica ─▶ first bytes ─▶ the caller
                    ▲                  └─ gone before that: another one      └─ gone after that: a typed error

Sampling has no effect but its answer, so a request may be asked again as long as nothing of an answer was passed on.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp
import msgspec
from aiohttp import web

from gym_core import headers
from gym_core.access import Access
from gym_core.client import Client, Token
from gym_core.errors import Conflict, PalaestraError, PolicyFault, Unavailable
from gym_core.serve import DOOR, deadline_s, json_reply, read_json
from gym_core.telemetry import Metrics
from model.weight_memory import WeightMemory
from policy_server.app import guard, openai_error
from policy_server.replicas.current import Kept
from policy_server.replicas.pool import Pool, Replica, Spawn
from policy_server.weight_body import arriving, fill, read_head, require_fit
from policy_server.weights import Taken, WeightsParams

_HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length", "host", "date", "server"}
_TURN = re.compile(r"-\d+$")
_WAIT_S = 60.0


class Router:
    """The handlers. `publish_s`: a replica that has not taken new weights by then is evicted."""

    def __init__(self, count: int, spawn: Spawn, *, token: Token = None, publish_s: float = 60.0, **options: Any):
        self.pool = Pool(count, spawn, self._welcome, token=token, **options)
        self._publish_s = publish_s
        self._kept: Kept | None = None
        self._publishing = asyncio.Lock()
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
        guard(app, token)
        app.router.add_route("*", "/{path:.+}", self.forward)
        app.on_startup.append(self._start)
        app.on_cleanup.append(self._close)
        _publish_stats(self.pool, app[DOOR].metrics)
        return app

    async def _start(self, _: web.Application) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        )
        await self.pool.start()

    async def _close(self, _: web.Application) -> None:
        await self.pool.close()
        if self._session is not None:
            await self._session.close()
        if self._kept is not None:
            self._kept.close()

    async def forward(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, to another replica where one is gone before it has answered anything."""
        body, key = await request.read(), rollout_of(request)
        limit_s, tried = deadline_s(request, 3600.0), set[int]()
        error: PalaestraError = _nobody()
        while len(tried) < len(self.pool.replicas):
            replica = self.pool.choose(key, tried)
            if replica is None:
                if tried:
                    break
                await self.pool.wait_for_one(min(limit_s, _WAIT_S))
                continue
            tried.add(replica.number)
            answer = web.StreamResponse()
            try:
                return await self._pass_on(request, body, replica, answer)
            except Unavailable as failure:
                if answer.prepared:
                    return await _break_off(answer, failure)
                error = failure
        raise error

    async def _pass_on(
        self, request: web.Request, body: bytes, replica: Replica, answer: web.StreamResponse
    ) -> web.StreamResponse:
        assert self._session is not None and replica.process is not None
        sent = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS}
        replica.num_requests += 1
        replica.num_running += 1
        try:
            url = replica.process.url + request.path_qs
            asked = self._session.request(request.method, url, data=body, headers=sent, allow_redirects=False)
            upstream = await _unless_gone(replica, _entered(asked))
            try:
                piece = await _unless_gone(replica, upstream.content.readany())
                if upstream.status == 503 and not piece:
                    raise Unavailable(f"replica {replica.number} is closing", stage="route")
                answer.set_status(upstream.status)
                for name, value in upstream.headers.items():
                    if name.lower() not in _HOP_HEADERS:
                        answer.headers.add(name, value)
                await answer.prepare(request)
                while piece:
                    await answer.write(piece)
                    piece = await _unless_gone(replica, upstream.content.readany())
                await answer.write_eof()
                return answer
            finally:
                upstream.close()
        finally:
            replica.num_running -= 1

    async def weights(self, request: web.Request) -> web.Response:
        return json_reply(await self._publish(await read_json(request, WeightsParams)))

    async def weights_body(self, request: web.Request) -> web.Response:
        """Receive once, into memory that all replicas then serve from."""
        async with arriving(request):
            params = await read_head(request)
        require_fit(params, await self._weight_bytes())
        memory = WeightMemory(params.nbytes, shared=True)
        try:
            async with arriving(request):
                await fill(request, memory.tensor)
            return json_reply(await self._publish(msgspec.structs.replace(params, memory=memory.handle, nbytes=0)))
        finally:
            memory.close()

    async def _weight_bytes(self) -> int:
        """How large the served model is, as a replica says. Raises what it answers where it takes no memory."""
        replica = next((replica for replica in self.pool.replicas if replica.up), None)
        if replica is None:
            raise _nobody()
        told = await _unless_gone(replica, _client(replica).get_json("/weights/bytes"))
        return int(told["nbytes"])

    async def _publish(self, params: WeightsParams) -> Taken:
        """Give new weights to every replica that is up; one that is too slow or fails alone is evicted."""
        async with self._publishing:
            kept = Kept(params)
            up = [replica for replica in self.pool.replicas if replica.up]
            results = await asyncio.gather(*(self._give(replica, kept) for replica in up))
            taken = [result for result in results if isinstance(result, Taken)]
            if not taken:
                kept.close()
                raise next((each for each in results if isinstance(each, PalaestraError)), _nobody())
            for replica, result in zip(up, results, strict=True):
                if isinstance(result, PalaestraError):
                    self.pool.evict(replica, f"it did not take version {kept.version}: {result}")
            if self._kept is not None:
                self._kept.close()
            self._kept = kept
        if any(other.checksums != taken[0].checksums for other in taken):
            raise Conflict("the replicas do not hold the same weights", stage="verify", server="policy")
        return taken[0]

    async def _give(self, replica: Replica, kept: Kept) -> Taken | PalaestraError:
        client = _client(replica)
        ask: Any = client.post_json("/weights", kept.body(), Taken, timeout_s=self._publish_s)
        try:
            taken: Taken = await _unless_gone(replica, ask)
        except PalaestraError as error:
            return error
        replica.version = taken.version
        return taken

    async def _welcome(self, replica: Replica) -> None:
        """A fresh replica takes the current weights before it serves. Raises what it answers."""
        async with self._publishing:
            replica.version = 0
            if self._kept is not None and isinstance(result := await self._give(replica, self._kept), PalaestraError):
                raise result

    async def checksums(self, _: web.Request) -> web.Response:
        return json_reply(await self._agreed("checksums", lambda client: client.get_json("/weights/checksums")))

    async def score(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await read_json(request, dict[str, Any])
        return json_reply(await self._agreed("scores", lambda client: client.post_json("/score", body)))

    async def _agreed(self, what: str, ask: Callable[[Client], Any]) -> Any:
        """What every replica answers. Raises `Conflict` naming one that answers something else."""
        up = [replica for replica in self.pool.replicas if replica.up]
        if not up:
            raise _nobody()
        answers = await asyncio.gather(*(_unless_gone(replica, ask(_client(replica))) for replica in up))
        for replica, answer in zip(up, answers, strict=True):
            if answer != answers[0]:
                raise Conflict(f"the {what} of replica {replica.number} are not those of replica {up[0].number}")
        return answers[0]

    async def version(self, request: web.Request) -> web.StreamResponse:
        return await self.forward(request)

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


def _nobody() -> PalaestraError:
    return Unavailable("no replica is up", stage="route", retry_after_s=1.0)


def _client(replica: Replica) -> Client:
    if replica.client is None:
        raise Unavailable(f"replica {replica.number} is gone", stage="route")
    return replica.client


async def _entered(asked: Any) -> aiohttp.ClientResponse:
    response: aiohttp.ClientResponse = await asked
    return response


async def _unless_gone(replica: Replica, work: Any) -> Any:
    """What `work` returns. Raises `Unavailable` as soon as the replica is given up, or when its connection breaks."""
    task, gone = asyncio.ensure_future(work), asyncio.ensure_future(replica.gone.wait())
    try:
        await asyncio.wait((task, gone), return_when="FIRST_COMPLETED")
        if task.done():
            return task.result()
        raise Unavailable(f"replica {replica.number} was given up", stage="route", server="policy")
    except (aiohttp.ClientError, OSError) as error:
        raise Unavailable(f"replica {replica.number} is gone: {error}", stage="route", server="policy") from None
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, aiohttp.ClientError, OSError, PalaestraError):
                await task


async def _break_off(answer: web.StreamResponse, failure: PalaestraError) -> web.StreamResponse:
    """End an answer that has begun: with an error event where it is a stream of events, else by breaking it off."""
    fault = PolicyFault(f"the replica was lost in the middle of its answer: {failure.message}", stage="generate")
    if answer.content_type != "text/event-stream":
        raise fault
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
