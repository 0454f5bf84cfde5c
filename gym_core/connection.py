"""The connections of a server of ours: bytes that are no request are refused in our error shape as well.

    bytes ─▶ parser ─▶ request ─▶ the door (`gym_core.middleware`) ─▶ handler
                └── a line too long, too many headers, no HTTP ─▶ 400, ErrorInfo, connection closed

The parser refuses before there is a request that a middleware could see. It quotes what it could not read, which may be
a token: its words are cut before the quotation, and neither they nor a traceback reach the log.
"""

from __future__ import annotations

import re
from typing import Any

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.web_protocol import RequestHandler

from gym_core import headers, telemetry
from gym_core.errors import ErrorInfo
from gym_core.middleware import Door
from gym_core.ways import Ways

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

    def __call__(self) -> RequestHandler:
        return _Connection(self._door, self, loop=self._loop, **self._kwargs)


class _Connection(RequestHandler):
    __slots__ = ("_door",)

    def __init__(self, door: Door, server: web.Server, **options: Any) -> None:
        super().__init__(server, **options)
        self._door = door

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
        trace = telemetry.accept_trace_id(None)
        telemetry.trace_id.set(trace)
        self._door.log.info("no request: %s", type(exc).__name__)
        self._door.metrics.answered("any", "unmatched", status)
        reply = self._door.error_response(_told(exc), status, {headers.TRACE: trace})
        reply.force_close()
        return reply


def _told(error: HttpProcessingError) -> ErrorInfo:
    if isinstance(error, LineTooLong):
        message = f"the request line or a header is over {error.args[1]} bytes"
        return ErrorInfo(code="bad_request", message=message, hint="what is large belongs in the body")
    said = _QUOTATION.split(error.message.strip(), maxsplit=1)[0].rstrip(".")
    return ErrorInfo(code="bad_request", message=f"this is no HTTP request: {said or type(error).__name__}")
