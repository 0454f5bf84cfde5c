"""The server's end of a parcel: each request in it goes the way of one that came alone; replies go as they are ready.

    POST /parcel ─▶ Asked, Asked, … ─▶ the app: door ─▶ handler ─▶ Told
    POST /parcel/leave ─▶ the handlers of those requests are cancelled, as when a caller hangs up

The parcel's token is that of all its requests; what it opens is asked of each. A request that answers in pieces
(server-sent events) has no place here and is told so. Cookies do not travel.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
from aiohttp import hdrs, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion11, RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from gym_core.errors import BadRequest, TooLarge
from gym_core.parcel import LEAVE_PATH, MAX_REQUESTS, PATH, TAKES_PARCELS, Asked, Left, Told
from gym_core.tokens import FRAME_TYPE, pack_frame, unpack_frames

_asked = msgspec.json.Decoder(Asked)
_left = msgspec.json.Decoder(Left)
_NOT_TOLD = frozenset({"content-length", "transfer-encoding", "connection", "set-cookie", TAKES_PARCELS.lower()})
_MAX_KNOWN_PATHS = 1024
_MAX_HEADERS, _MAX_HEADER_CHARS = 128, 8190
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_PATH = re.compile(r"/[!-~]*")

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ParcelRoute:
    """The handlers of one app. `answer` is what the app does with a request: middlewares, then the route's handler."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._open: dict[str, dict[int, asyncio.Task[None]]] = {}
        self._urls: dict[str, URL] = {}

    def add_to(self, router: web.UrlDispatcher) -> None:
        router.add_post(PATH, self.parcel)
        router.add_post(LEAVE_PATH, self.leave)

    async def parcel(self, request: web.Request) -> web.StreamResponse:
        """Answer every request of the parcel, each as soon as it can be; one that hangs holds up no other."""
        requests = self._read(request, await request.read())
        name = request.headers.get(TAKES_PARCELS, "")
        if name in self._open:
            raise BadRequest("a parcel of that name is open", field=TAKES_PARCELS, hint="give each parcel its own")
        outbox = _Outbox(len(requests))
        tasks = {number: asyncio.create_task(self._one(number, one, outbox)) for number, one in requests.items()}
        if name:
            self._open[name] = tasks
        reply = web.StreamResponse(headers={hdrs.CONTENT_TYPE: FRAME_TYPE})
        try:
            await reply.prepare(request)
            async for frames in outbox:
                await reply.write(frames)
            await reply.write_eof()
        finally:
            self._open.pop(name, None)
            for task in tasks.values():
                task.cancel()
            await asyncio.gather(*tasks.values(), return_exceptions=True)
        return reply

    async def leave(self, request: web.Request) -> web.Response:
        """Cancel the named requests. One that is over, or of another process of this port, is none of them."""
        try:
            asked = _left.decode(await request.read())
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise BadRequest(f"the body does not say who leaves: {error}") from None
        tasks = self._open.get(asked.name, {})
        running = [tasks[number] for number in asked.numbers if number in tasks and not tasks[number].done()]
        for task in running:
            task.cancel()
        return web.Response(body=msgspec.json.encode({"left": len(running)}), content_type="application/json")

    async def _one(self, number: int, request: web.Request, outbox: _Outbox) -> None:
        frame = b""
        try:
            frame = _frame(number, await self._answer(request))
        except web.HTTPException as reply:  # a redirect; every other one the door has made an error of ours
            frame = _frame(number, reply)
        finally:
            outbox.put(frame)

    def _read(self, parcel: web.Request, body: bytes) -> dict[int, web.Request]:
        try:
            frames = unpack_frames(body, MAX_REQUESTS)
        except ValueError as error:
            raise BadRequest(f"the body is no parcel: {error}") from None
        requests: dict[int, web.Request] = {}
        for place, (head, blob) in enumerate(frames):
            try:
                asked = _asked.decode(head)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise BadRequest(f"request {place} of the parcel cannot be read: {error}") from None
            if asked.number in requests:
                raise BadRequest(f"two requests of the parcel have the number {asked.number}", field="number")
            requests[asked.number] = self._request(parcel, asked, bytes(blob))
        return requests

    def _request(self, parcel: web.Request, asked: Asked, body: bytes) -> web.Request:
        """The request that would have come alone, over the parcel's connection and with its token."""
        url = self._url(asked.path)
        _check_words(asked)
        if len(body) > parcel.client_max_size:
            raise TooLarge(f"the body of {asked.path} is over the limit of {parcel.client_max_size} bytes")
        given = CIMultiDict(asked.headers)
        given.pop(hdrs.AUTHORIZATION, None)
        given.pop(hdrs.EXPECT, None)  # its body is here: nobody waits to be told to go on
        if token := parcel.headers.get(hdrs.AUTHORIZATION):
            given[hdrs.AUTHORIZATION] = token
        message = RawRequestMessage(
            asked.method, asked.path, HttpVersion11, CIMultiDictProxy(given), (), False, None, False, False, url
        )
        request = web.Request(
            message,
            EMPTY_PAYLOAD,
            parcel.protocol,
            _Nowhere(),
            parcel.task,
            asyncio.get_running_loop(),
            client_max_size=parcel.client_max_size,
        )
        request._read_bytes = body  # what `read` gives; a stream that was fed would cost as much as the handler
        return request

    def _url(self, path: str) -> URL:
        """Kept: parcels ask for few paths, again and again, and taking one apart is slow."""
        found = self._urls.get(path)
        if found is None:
            try:
                found = URL(path if _PATH.fullmatch(path) else "", encoded=True)
            except ValueError:
                found = URL()
            if not found.path.startswith("/") or found.absolute:
                raise BadRequest(f"{path[:100]!a} is no path of this server", field="path")
            if found.path in (PATH, LEAVE_PATH):
                raise BadRequest("a parcel holds no parcels", field="path")
            if len(self._urls) < _MAX_KNOWN_PATHS:
                self._urls[path] = found
        return found


def _check_words(asked: Asked) -> None:
    """What the parser of HTTP refuses is refused here: a handler may pass these words on."""
    said = asked.headers
    if not _NAME.fullmatch(asked.method) or not all(map(_NAME.fullmatch, said)):
        raise BadRequest("a method or a header's name has characters that HTTP does not know", field="headers")
    if len(said) > _MAX_HEADERS or any(len(value) > _MAX_HEADER_CHARS for value in said.values()):
        most = f"at most {_MAX_HEADERS} headers of at most {_MAX_HEADER_CHARS} characters"
        raise BadRequest("a request of the parcel has too many headers, or one too long", field="headers", hint=most)
    if any(map(_CONTROL.search, said.values())):
        raise BadRequest("a header has control characters", field="headers")


def _frame(number: int, reply: web.StreamResponse) -> bytes:
    body = reply.body if isinstance(reply, web.Response) else None
    if body is not None and not isinstance(body, bytes | bytearray):
        return _frame(number, _refused("an answer that is no bytes has no place in a parcel"))
    told = {name: value for name, value in reply.headers.items() if name.lower() not in _NOT_TOLD}
    return pack_frame(msgspec.json.encode(Told(number, reply.status, told)), bytes(body or b""))


def _refused(what: str) -> web.Response:
    error = BadRequest(what, hint="ask for it alone")
    return web.Response(
        body=msgspec.json.encode({"error": error.info()}), status=error.status, content_type="application/json"
    )


class _Outbox:
    """Replies that nobody has sent yet; the iteration gives all of them at a time and ends after the last task."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._frames: list[bytes] = []
        self._news = asyncio.Event()

    def put(self, frame: bytes) -> None:
        """Called once by each task when it ends, with b"" where it has nothing to tell."""
        self._left -= 1
        if frame:
            self._frames.append(frame)
        self._news.set()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self._left or self._frames:
            await self._news.wait()
            self._news.clear()
            frames, self._frames = self._frames, []
            if frames:
                yield b"".join(frames)


class _Nowhere(AbstractStreamWriter):
    """What a handler writes to that would answer in pieces: nothing goes out, and it is told so."""

    async def write_headers(self, status_line: str, headers: CIMultiDict[str]) -> None:
        raise BadRequest("an answer in pieces has no place in a parcel", hint="ask for it alone, or not as a stream")

    async def write(self, chunk: bytes | bytearray | memoryview) -> None:
        raise AssertionError("nothing is written before the headers")

    async def write_eof(self, chunk: bytes = b"") -> None:
        raise AssertionError("nothing is written before the headers")

    async def drain(self) -> None:
        """Nothing waits here."""

    def enable_compression(self, encoding: str = "deflate", strategy: int | None = None) -> None:
        """Nothing is sent."""

    def enable_chunking(self) -> None:
        """Nothing is sent."""
