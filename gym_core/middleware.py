"""The one middleware of every server: trace id, span, token, error shape and metrics around each handler.

    request ─▶ trace id, span ─▶ token ─▶ handler ─▶ reply
                  └── whatever is raised ─▶ {"error": ErrorInfo} with its status

One coroutine does all of it, because every further middleware costs each request a frame.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, NoReturn

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from gym_core import headers, telemetry, tracing
from gym_core.access import ANY, Access
from gym_core.errors import ErrorInfo, Forbidden, PalaestraError, SlowBody, Unauthorized, refused_behind
from gym_core.parcel import LEAVE_PATH, PATH, TAKES_PARCELS

ErrorBody = Callable[[ErrorInfo, int], Mapping[str, Any]]
"""Builds the JSON body of an error from its info and status; for servers that must keep another API's shape."""

BODY_S = 60.0
"""A request whose body is not whole after this many seconds is refused."""

STALL_S = 120.0
"""A connection whose reader takes next to nothing of a reply for so long is cut."""

_CODES = {401: "unauthorized", 403: "forbidden", 404: "unknown_name", 409: "conflict", 413: "too_large", 429: "busy"}
_JSON = "application/json"
_UNTRACED = frozenset({"/healthz", "/metrics"})
"""What machines ask every few seconds is no part of any trace."""


class Door:
    """What stands before the handlers of one app."""

    def __init__(
        self,
        server: str,
        access: Access,
        open_paths: frozenset[str],
        error_body: ErrorBody | None,
        scope: str,
        scopes: Mapping[str, str],
        streamed: frozenset[str] = frozenset(),
        stall_s: float | None = None,
    ) -> None:
        self.server = server
        self.stall_s = STALL_S if stall_s is None else stall_s
        self.streamed = streamed
        self.num_processes = "1"
        self.access = access
        self.scope = scope
        self.scopes = {"/metrics": "metrics:read", PATH: ANY, LEAVE_PATH: ANY, **scopes}
        self.open_paths = open_paths
        self.error_body = error_body
        self.metrics = telemetry.Metrics(server)
        self.log = telemetry.logger(server)
        tracing.configure()

    def error_response(self, info: ErrorInfo, status: int, extra: Mapping[str, str] | None = None) -> web.Response:
        """The reply for an error, its server and trace id filled in where they are empty."""
        info = msgspec.structs.replace(
            info, server=info.server or self.server, trace_id=info.trace_id or telemetry.trace_id.get()
        )
        body = {"error": info} if self.error_body is None else self.error_body(info, status)
        return web.Response(body=msgspec.json.encode(body), status=status, content_type=_JSON, headers=extra)

    def from_palaestra(self, error: PalaestraError) -> web.Response:
        """A server behind this one that refuses our token is no word about the caller's."""
        if isinstance(error, Unauthorized | Forbidden) and error.server not in ("", self.server):
            error = refused_behind(error)
        extra: dict[str, str] = {}
        if error.retry_after_s is not None or error.status == 429:
            extra[hdrs.RETRY_AFTER] = str(max(1, math.ceil(error.retry_after_s or 1.0)))
        if error.status == 401:
            extra[hdrs.WWW_AUTHENTICATE] = "Bearer"
        return self.error_response(error.info(), error.status, extra)

    def from_http(self, error: web.HTTPException, request: web.BaseRequest) -> web.Response:
        """aiohttp's own refusals (no such route, wrong method, body too large) in our shape."""
        what = f"{request.method} {request.path}"
        code = _CODES.get(error.status, "bad_request" if error.status < 500 else "internal")
        message, hint = f"{what}: {error.reason}", ""
        if error.status == 404:
            message = f"there is no {request.path} here"
        elif isinstance(error, web.HTTPMethodNotAllowed):
            message, hint = f"{what} is not allowed", f"use {', '.join(sorted(error.allowed_methods))}"
        elif error.status == 413:
            message, hint = f"the body is over the limit of {request.client_max_size} bytes", "send less at a time"
        allow = error.headers.get(hdrs.ALLOW)
        info = ErrorInfo(code=code, message=message, hint=hint)
        return self.error_response(info, error.status, {hdrs.ALLOW: allow} if allow else None)

    def from_bug(self, error: Exception, request: web.Request) -> web.Response:
        """Anything else is a bug of ours: the traceback goes to the log, the caller learns where to look."""
        self.log.error("unexpected error in %s %s", request.method, request.path, exc_info=error)
        info = ErrorInfo(
            code="internal",
            message="an unexpected error happened in this server",
            hint=f"its log has the traceback under trace id {telemetry.trace_id.get()}",
        )
        return self.error_response(info, 500)

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        started = perf_counter()
        resource = request.match_info.route.resource
        route = "unmatched" if resource is None else resource.canonical
        method = request.method if resource else "any"
        hop = None if route in _UNTRACED else tracing.serve(self.server, method, route, request.headers)
        given = request.headers.get(headers.TRACE) or (None if hop is None else hop.trace_id)
        trace = telemetry.accept_trace_id(given)
        telemetry.trace_id.set(trace)  # never reset: the task that serves a connection has a context of its own
        in_flight, seconds = self.metrics.route(method, route)
        in_flight.inc()
        status = 499  # what is counted when the caller hangs up and the handler is cancelled
        try:
            response = await self._answer(request, handler, route)
            status = response.status
            if not response.prepared:
                response.headers[headers.TRACE] = trace
                response.headers[TAKES_PARCELS] = self.num_processes
            return response
        finally:
            in_flight.dec()
            seconds.observe(perf_counter() - started)
            self.metrics.answered(method, route, status)
            if hop is not None:
                hop.answered(status)
                hop.end()

    async def _answer(self, request: web.Request, handler: Handler, route: str) -> web.StreamResponse:
        try:
            if not self.access.open and request.path not in self.open_paths:
                self.access.check(request.headers.get(hdrs.AUTHORIZATION), self.scopes.get(route, self.scope))
            if route not in self.streamed:
                content = request.content
                if not content.is_eof():
                    await self._receive(request)
                elif request._read_bytes is None and content.total_bytes <= request.client_max_size:
                    request._read_bytes = content.read_nowait()  # whole already: `read` would ask for it twice
            return await handler(request)
        except web.HTTPRedirection:
            raise
        except Exception as error:
            if request.writer.output_size > 0:
                self._break_off(request, error)
            return self._from_any(error, request)

    @staticmethod
    async def _receive(request: web.Request) -> None:
        """Take the whole body before the handler runs: who sends it drop by drop holds no place in a queue.

        One that says that it is too large is not waited for.
        """
        if (request.content_length or 0) > request.client_max_size:
            raise web.HTTPRequestEntityTooLarge(request.client_max_size)
        try:
            async with asyncio.timeout(BODY_S):
                await request.read()
        except TimeoutError:
            raise SlowBody(f"the body did not arrive within {BODY_S:g} s", hint="send it at once") from None

    def _from_any(self, error: Exception, request: web.Request) -> web.Response:
        if isinstance(error, PalaestraError):
            if error.status >= 500:
                self.log.warning("%s %s: %s", request.method, request.path, error, extra={"code": error.code})
            return self.from_palaestra(error)
        if isinstance(error, web.HTTPException):
            return self.from_http(error, request)
        if isinstance(error, RecursionError):
            return self.error_response(ErrorInfo(code="bad_request", message="the body is nested too deeply"), 400)
        if isinstance(error, web.RequestPayloadError):
            return self.error_response(ErrorInfo(code="bad_request", message="the request's body broke off"), 400)
        return self.from_bug(error, request)

    def _break_off(self, request: web.Request, error: Exception) -> NoReturn:
        """No second reply can follow a begun one: cut the connection, so that the caller sees a stream cut short."""
        if not (isinstance(error, ConnectionError) and (request.transport is None or request.transport.is_closing())):
            self.log.error("%s %s failed while its reply was streaming", request.method, request.path, exc_info=error)
        if request.transport is not None:
            request.transport.abort()
        raise ConnectionResetError("the reply had begun") from error


async def echo_trace(_: web.Request, response: web.StreamResponse) -> None:
    """`on_response_prepare` signal: a reply that its handler streams says the trace id as well."""
    if headers.TRACE not in response.headers and (trace := telemetry.trace_id.get()):
        response.headers[headers.TRACE] = trace
