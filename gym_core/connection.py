"""The connections of a server of ours: bytes that are no request are refused in our error shape as well, and a reader
that takes nothing holds nothing for long.

    bytes ─▶ parser ─▶ request ─▶ the door (`gym_core.middleware`) ─▶ handler ─▶ reply ─▶ reader
                └── a line too long, too many headers, no HTTP ─▶ 400, ErrorInfo, connection closed
                                                     less than 64 KiB in `stall_s` ─▶ connection cut

The parser refuses before there is a request that a middleware could see. It quotes what it could not read, which may be
a token: its words are cut before the quotation, and neither they nor a traceback reach the log. With a connection that
is cut its handler ends, as with one whose caller hung up.
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from gym_core import headers, telemetry
from gym_core.errors import ErrorInfo
from gym_core.middleware import Door
from gym_core.ways import Ways

LEAST_BYTES = 64 << 10
"""What a reader takes in `Door.stall_s` at least, while more than a buffer full waits for it."""

_QUOTATION = re.compile(r"\s*(?:[:\n]|b?['\"]|bytearray)")


class Runner(web.AppRunner):
    """aiohttp's, with connections of ours; `door` is the one of its app."""

    def __init__(self, app: web.Application, door: Door, **options: Any) -> None:
        super().__init__(app, **options)
        self._door = door

    async def _make_server(self) -> web.Server:
        return _Server(self._door, Ways(self.app, self._door), await super()._make_server())


class _Server(web.Server):
    def __init__(self, door: Door, ways: Ways, made: web.Server) -> None:
        super().__init__(
            ways.answer,
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,
        )
        self._door = door
        self._ending = False

    def __call__(self) -> RequestHandler:
        return _Connection(self._door, self, loop=self._loop, **self._kwargs)

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        if self._ending:
            transport.abort()  # accepted while the others were being closed: nobody would close it
        else:
            super().connection_made(handler, transport)

    async def shutdown(self, timeout: float | None = None) -> None:
        self._ending = True
        await super().shutdown(timeout)


class _Connection(RequestHandler):
    __slots__ = ("_closing", "_door", "_stalled")

    def __init__(self, door: Door, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._door = door
        self._stalled: asyncio.TimerHandle | None = None
        self._closing: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        super().pause_writing()
        self._watch()

    def resume_writing(self) -> None:
        self._unwatch()
        super().resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._unwatch()
        if self._closing is not None:
            self._closing.cancel()
        super().connection_lost(exc)

    async def start(self) -> None:
        """Serve the connection. Closing it waits until all was taken: what is left then gets its time, and no more."""
        transport = self.transport
        try:
            await super().start()
        finally:
            lost = self._manager is None
            if transport is not None and not lost and transport.get_write_buffer_size() > 0:
                self._closing = self._loop.call_later(self._door.stall_s, _cut, transport)

    def _watch(self) -> None:
        assert self.transport is not None
        left = self.transport.get_write_buffer_size()
        self._stalled = self._loop.call_later(self._door.stall_s, self._look, left)

    def _unwatch(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _look(self, before: int) -> None:
        """Cut the connection where too little has left the buffer since it was filled, or since the last look."""
        transport = self.transport
        if transport is None:
            return
        if transport.get_write_buffer_size() > max(before - LEAST_BYTES, before // 2):  # a short rest may take as long
            self._door.log.warning("a reader took nothing for %g s: its connection is cut", self._door.stall_s)
            _cut(transport)
        else:
            self._watch()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """What is refused in front of the door (an `Expect` that nobody knows) has our shape as well."""
        if isinstance(resp, web.HTTPError):
            telemetry.trace_id.set(telemetry.accept_trace_id(request.headers.get(headers.TRACE)))
            resp = self._counted(self._door.from_http(resp, request))
        return await super().finish_response(request, resp, start_time)

    def resume_reading(self, resume_parser: bool = True) -> None:
        """aiohttp asks for it after each piece that is read, and parses nothing once more, paused or not."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What the parser refuses; all that a handler may raise was answered by the door."""
        if not isinstance(exc, HttpProcessingError):
            return super().handle_error(request, status, exc, message)
        telemetry.trace_id.set(telemetry.accept_trace_id(None))
        self._door.log.info("no request: %s", type(exc).__name__)
        reply = self._counted(self._door.error_response(_told(exc), status))
        reply.force_close()
        return reply

    def _counted(self, reply: web.Response) -> web.Response:
        """A reply that went past the door."""
        self._door.metrics.answered("any", "unmatched", reply.status)
        reply.headers[headers.TRACE] = telemetry.trace_id.get()
        return reply


def _cut(transport: asyncio.Transport) -> None:
    """Hang up at once: closed in the usual way, the kernel would go on offering what is left for minutes."""
    if (held := transport.get_extra_info("socket")) is not None:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def _told(error: HttpProcessingError) -> ErrorInfo:
    if isinstance(error, LineTooLong):
        message = f"the request line or a header is over {error.args[1]} bytes"
        return ErrorInfo(code="bad_request", message=message, hint="what is large belongs in the body")
    said = _QUOTATION.split(error.message.strip(), maxsplit=1)[0].rstrip(".")
    return ErrorInfo(code="bad_request", message=f"this is no HTTP request: {said or type(error).__name__}")
