"""The client's end of parcels: requests that want to leave at the same moment travel in one HTTP message.

    request ─▶ waits for the end of the loop's turn ─▶ alone? goes as ever
                                                    └▶ with others: POST /parcel ─▶ replies as they are ready

Nothing is delayed for company: what has come by the end of the turn goes. Each request keeps its own deadline, reply
and error, and is repeated by its client as one that went alone; where a parcel comes to nothing, what may be asked
again is asked alone, so that nobody pays for another's failure. A request that nobody waits for any more is left at
the server, and with the last one the connection is cut.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import msgspec
from aiohttp import hdrs
from multidict import CIMultiDict
from yarl import URL

from gym_core import headers as names
from gym_core.errors import BadRequest, DeadlineExceeded, PalaestraError, RemoteError, Unavailable, UnknownName
from gym_core.http_reply import Response
from gym_core.parcel import LEAVE_PATH, MAX_BYTES, MAX_REQUESTS, PATH, TAKES_PARCELS, Asked, Left, Told
from gym_core.tokens import FRAME_TYPE, pack_frame

if TYPE_CHECKING:
    from gym_core.client import Client

LEAVE_S = 5.0
GRACE_S = 5.0
"""What a parcel may take beyond the longest deadline in it; each request in it keeps its own."""

_told = msgspec.json.Decoder(Told)
_log = logging.getLogger("palaestra.client")


class _Waiting:
    """A request that has not left yet, or whose reply is not there yet."""

    __slots__ = ("body", "headers", "left_s", "method", "parcel", "path", "reply")

    def __init__(self, method: str, path: str, headers: dict[str, str], body: bytes, left_s: float) -> None:
        self.method, self.path, self.headers, self.body, self.left_s = method, path, headers, body, left_s
        self.reply: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()
        self.parcel: _Parcel | None = None

    def tell(self, reply: Response | None) -> None:
        """The reply; None sends the request alone."""
        if not self.reply.done():
            self.reply.set_result(reply)

    def fail(self, error: PalaestraError) -> None:
        """Each gets an error of its own: one that several tasks raise would gather all of their tracebacks."""
        if not self.reply.done():
            told = type(error)(error.message, field=error.field, hint=error.hint, stage=error.stage)
            self.reply.set_exception(told)


class Parcels:
    """What one client asks of its peer. `carrier` reaches the root of the server that `base_url` lies below."""

    def __init__(self, base_url: str, carrier: Client) -> None:
        self.carrier = carrier
        self._base = URL(base_url).raw_path.rstrip("/")
        self._taken = 0
        self._refused = False
        self._num_asking = 0
        self._waiting: list[_Waiting] = []
        self._parcels: set[_Parcel] = set()

    async def ask(
        self,
        alone: Callable[[], Awaitable[Response]],
        method: str,
        path: str,
        sent: Mapping[str, str],
        body: bytes,
        left_s: float,
    ) -> Response:
        """The reply, come together with others or `alone`. Raises what `alone` raises, and TimeoutError at `left_s`."""
        self._num_asking += 1
        try:
            reply = None
            if self._num_asking > 1 and self._taken and not self._refused and len(body) <= MAX_BYTES // 8:
                try:
                    reply = await self._together(_Waiting(method, self._base + path, dict(sent), body, left_s))
                except Unavailable:
                    # Others may have brought the parcel down: what may be asked again is, without their company.
                    if method != hdrs.METH_GET and names.IDEMPOTENCY not in sent:
                        raise
                if reply is not None and reply.status != 404:
                    return reply
            answer = await alone()
            if not self._taken and (said := answer.headers.get(TAKES_PARCELS)):
                self._taken = max(1, int(said)) if said.isdecimal() and len(said) < 5 else 1
            if reply is not None and answer.status != 404:
                self.give_up()  # something between us and the peer has other names for its paths
            return answer
        finally:
            self._num_asking -= 1

    def give_up(self) -> None:
        """From now on every request goes alone."""
        self._refused = True

    async def close(self) -> None:
        """Cut off what is under way."""
        tasks = [parcel.task for parcel in self._parcels]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.carrier.close()

    async def _together(self, waiting: _Waiting) -> Response | None:
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._send)
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout(waiting.left_s):
                return await waiting.reply
        except BaseException:
            if waiting.parcel is not None:
                waiting.parcel.leave(waiting)
            raise

    def _send(self) -> None:
        """At the end of the turn: what still waits leaves, in as few parcels as it fits into, but one for each process
        of the peer's."""
        waiting, self._waiting = [one for one in self._waiting if not one.reply.done()], []
        if len(waiting) == 1:
            waiting[0].tell(None)
            return
        load: list[_Waiting] = []
        size, most = 0, min(MAX_REQUESTS, -(-len(waiting) // self._taken))
        for one in waiting:
            size += len(one.body)
            if load and (len(load) == most or size > MAX_BYTES):
                self._parcels.add(_Parcel(self, load))
                load, size = [], len(one.body)
            load.append(one)
        if load:
            self._parcels.add(_Parcel(self, load))

    def ended(self, parcel: _Parcel) -> None:
        self._parcels.discard(parcel)


class _Parcel:
    """One parcel under way."""

    def __init__(self, parcels: Parcels, requests: list[_Waiting]) -> None:
        self._parcels, self._requests = parcels, requests
        self._name = secrets.token_hex(8)
        self._open = dict.fromkeys(requests)
        self._leaving: list[int] = []
        self._saying: set[asyncio.Task[None]] = set()
        for request in requests:
            request.parcel = self
        # a context of its own: the trace of whoever came first is not that of all
        self.task = asyncio.get_running_loop().create_task(self._carry(), context=contextvars.Context())

    def leave(self, request: _Waiting) -> None:
        """Nobody waits for the answer to `request` any more."""
        if request not in self._open:
            return
        del self._open[request]
        if not self._open:
            self.task.cancel()
            return
        if not self._leaving:
            asyncio.get_running_loop().call_soon(self._say_who_leaves, context=contextvars.Context())
        self._leaving.append(self._requests.index(request))

    async def _carry(self) -> None:
        try:
            await self._exchange()
            for request in self._open:
                request.fail(Unavailable(f"{self._parcels.carrier.base_url} answered a parcel without this request"))
        except (Unavailable, DeadlineExceeded) as error:
            self._fail(error)
        except RemoteError as error:
            self._parcels.give_up()
            self._fail(Unavailable(f"a parcel came to nothing: {error.message}"))
        except PalaestraError as error:  # refused at the door: nothing has happened, and alone the reason is told
            if isinstance(error, UnknownName | BadRequest):
                self._parcels.give_up()
            for request in self._open:
                request.tell(None)
        finally:
            self._fail(Unavailable(f"the client of {self._parcels.carrier.base_url} was closed"))
            self._parcels.ended(self)

    def _fail(self, error: PalaestraError) -> None:
        for request in self._open:
            request.fail(error)

    async def _exchange(self) -> None:
        frames = []
        for number, one in enumerate(self._requests):
            one.headers.pop(hdrs.AUTHORIZATION, None)  # the parcel's own counts for all
            one.headers[names.DEADLINE] = f"{one.left_s:.3f}"
            frames.append(pack_frame(msgspec.json.encode(Asked(number, one.method, one.path, one.headers)), one.body))
        replies = self._parcels.carrier.stream(
            PATH,
            b"".join(frames),
            headers={TAKES_PARCELS: self._name, hdrs.CONTENT_TYPE: FRAME_TYPE},
            timeout_s=max(one.left_s for one in self._requests) + GRACE_S,
        )
        async with contextlib.aclosing(replies):
            async for head, blob in replies:
                self._take(head, blob)

    def _take(self, head: bytes, blob: bytes) -> None:
        try:
            told = _told.decode(head)
            request = self._requests[told.number]
        except (msgspec.MsgspecError, UnicodeDecodeError, IndexError) as error:
            raise RemoteError(f"a reply in a parcel cannot be read: {error}") from None
        if request in self._open:
            del self._open[request]
            url = self._parcels.carrier.base_url + request.path
            request.tell(Response(told.status, CIMultiDict(told.headers), blob, url))

    def _say_who_leaves(self) -> None:
        left, self._leaving = Left(self._name, self._leaving), []
        if self._open:
            task = asyncio.create_task(self._leave(left))
            self._saying.add(task)
            task.add_done_callback(self._saying.discard)

    async def _leave(self, left: Left) -> None:
        try:
            await self._parcels.carrier.post(LEAVE_PATH, left, timeout_s=LEAVE_S, retry=False)
        except PalaestraError as error:  # then its deadline ends it
            _log.debug("a request was not taken back: %s", error)
