"""Several processes behind one port: a request that is another process's business is passed on to it.

    caller ─▶ any process of the port (the kernel chooses) ─▶ unix socket ─▶ the one that holds the session

Each process has a slot, `w0`, `w1`, …, which session ids name (`session_ids.py`). What belongs together meets at one:
the requests of a session, those of a group that is judged together, and a repeated `seed_session` (by its
Idempotency-Key). `/metrics` tells of all of them (`fleet_metrics.py`). Everything else is answered where it arrives.
Supervised by `palaestra/fleet.py`.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec
from aiohttp import hdrs, web
from multidict import CIMultiDict

from gym_core import headers
from gym_core.contracts import RUN_KEY
from gym_core.errors import DeadlineExceeded, Unavailable
from gym_core.fleet_metrics import together
from gym_core.serve import DOOR
from gym_core.telemetry import Metrics, trace_id

if TYPE_CHECKING:
    from aiohttp.typedefs import Handler

    from gym_core.service import EnvironmentService

FORWARDED = "X-Palaestra-Forwarded"
"""Set by the process that passed the request on; such a request is answered where it is."""

LONGEST_S = 3600.0
METRICS_S = 5.0
"""A process that does not tell its numbers for so long is left out; Prometheus waits for ten seconds as a rule."""

_HOP = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer", "content-length", "host"}
)
_BODY_ROUTES = ("verify", "close_session", "seed_session", "group_verdict")


@dataclass(slots=True, frozen=True)
class FleetPlace:
    """This process's slot among `size`, and the folder of their sockets."""

    slot: int
    size: int
    folder: Path

    @property
    def worker(self) -> str:
        return f"w{self.slot}"

    @property
    def socket(self) -> Path:
        return self.socket_of(self.slot)

    def socket_of(self, slot: int) -> Path:
        return self.folder / f"{slot}.sock"

    def slot_of(self, worker: str) -> int | None:
        """The slot that a session id names; None for one that this fleet does not have."""
        number = worker.removeprefix("w")
        slot = int(number) if number.isdecimal() and len(number) < 5 else self.size
        return slot if slot < self.size else None

    def slot_for(self, key: str) -> int:
        """The slot where everything under this key meets."""
        return zlib.crc32(key.encode()) % self.size


class _Options(msgspec.Struct):
    group_id: str = ""


class _Peek(msgspec.Struct, rename={"options": RUN_KEY}):
    """The parts of a body that say whose it is."""

    session_id: str = ""
    group_id: str = ""
    options: _Options = msgspec.field(default_factory=_Options)


_peek = msgspec.json.Decoder(_Peek)


class Fleet:
    """Decides whose a request is, and passes it on."""

    def __init__(self, place: FleetPlace, services: Mapping[str, EnvironmentService]) -> None:
        self.place = place
        self._services = services
        self._peers: dict[int, aiohttp.ClientSession] = {}

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if FORWARDED in request.headers:
            return await handler(request)
        if request.method == hdrs.METH_GET and request.path == "/metrics":
            return await self._metrics(request)
        if request.method != hdrs.METH_POST:
            return await handler(request)
        slot, binding = await self._owner(request)
        if slot is None or slot == self.place.slot:
            return await handler(request)
        try:
            return await self._pass_on(request, slot)
        except aiohttp.ClientConnectorError:
            if not binding:  # nothing of it is there yet: any process may begin it
                return await handler(request)
            raise Unavailable(
                f"the process that holds this session ({self.place.socket_of(slot).stem}) is not there",
                stage="session",
                hint="it is started anew; its sessions come back where the server has a state_dir",
            ) from None
        except TimeoutError:
            raise DeadlineExceeded("the process that holds this session did not answer in time") from None
        except aiohttp.ClientError as error:
            raise Unavailable(f"the process that holds this session hung up: {error}", stage="session") from None

    async def _owner(self, request: web.Request) -> tuple[int | None, bool]:
        """The slot a request belongs to, None for any; and whether only that one can answer it."""
        name, _, route = request.path.strip("/").rpartition("/")
        service = self._services.get(name) if name else next(iter(self._services.values()))
        if service is None or route in ("tasks", "ingest"):
            return None, False
        session_id = request.headers.get(headers.SESSION, "")
        said = _Peek()
        if route in _BODY_ROUTES:
            try:
                said = _peek.decode(await request.read() or b"{}")
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return None, False  # the handler says what is wrong with it
            session_id = said.session_id or session_id
        session_id = session_id or request.cookies.get(f"palaestra_session_{service.name}", "")
        if route == "seed_session":
            session_id = ""  # a cookie of an earlier one does not matter
        if session_id:
            worker = service.sessions.ids.worker_of(session_id)
            return (None, True) if worker is None else (self.place.slot_of(worker), True)
        group_id = (said.group_id or said.options.group_id) if service.host.judges_groups else ""
        if group_id:
            return self.place.slot_for(group_id), route != "seed_session"
        key = request.headers.get(headers.IDEMPOTENCY, "") if route == "seed_session" else ""
        return (self.place.slot_for(key) if key else None), False

    async def _pass_on(self, request: web.Request, slot: int) -> web.Response:
        given = CIMultiDict((name, value) for name, value in request.headers.items() if name.lower() not in _HOP)
        given[FORWARDED] = self.place.worker
        given[headers.TRACE] = trace_id.get()
        timeout = aiohttp.ClientTimeout(total=LONGEST_S, sock_connect=5)
        url = f"http://fleet{request.raw_path}"
        async with self._peer(slot).post(url, data=await request.read(), headers=given, timeout=timeout) as reply:
            kept = CIMultiDict((name, value) for name, value in reply.headers.items() if name.lower() not in _HOP)
            return web.Response(status=reply.status, body=await reply.read(), headers=kept)

    async def _metrics(self, request: web.Request) -> web.Response:
        given = {FORWARDED: self.place.worker}
        if token := request.headers.get(hdrs.AUTHORIZATION):
            given[hdrs.AUTHORIZATION] = token
        slots = range(self.place.size)
        texts = await asyncio.gather(*(self._metrics_of(request, slot, given) for slot in slots))
        told = together({f"w{slot}": text for slot, text in zip(slots, texts, strict=True)})
        return web.Response(body=told, headers={"Content-Type": Metrics.content_type})

    async def _metrics_of(self, request: web.Request, slot: int, given: Mapping[str, str]) -> str | None:
        if slot == self.place.slot:
            return request.app[DOOR].metrics.text().decode()
        try:
            async with asyncio.timeout(METRICS_S):
                async with self._peer(slot).get("http://fleet/metrics", headers=given) as reply:
                    return await reply.text() if reply.status == 200 else None
        except (TimeoutError, aiohttp.ClientError):
            return None

    def _peer(self, slot: int) -> aiohttp.ClientSession:
        if slot not in self._peers:
            connector = aiohttp.UnixConnector(path=str(self.place.socket_of(slot)), limit=0)
            self._peers[slot] = aiohttp.ClientSession(
                connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
            )
        return self._peers[slot]

    async def close(self) -> None:
        await asyncio.gather(*(peer.close() for peer in self._peers.values()))


def join_fleet(app: web.Application, place: FleetPlace, services: Mapping[str, EnvironmentService]) -> None:
    """Let `app` pass on what is another process's. A process that is alone does not need this and pays nothing."""
    fleet = Fleet(place, services)

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await fleet(request, handler)

    app.middlewares.append(middleware)
    app.cleanup_ctx.append(partial(_closing, fleet=fleet))


async def _closing(_: web.Application, fleet: Fleet) -> AsyncIterator[Any]:
    yield
    await fleet.close()
