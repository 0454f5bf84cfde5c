"""How every service of ours is served: one door in front of the app, one way to start, one way to stop.

app = harden(web.Application(), "agent")        # errors, trace ids, token, body limit, /metrics, /healthz
run(app, port=8100)                             # a program: blocks until SIGTERM
served = await start(app); await served.close() # inside a running loop: composition and tests
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import msgspec
import uvloop
from aiohttp import web

from gym_core import auth, headers, telemetry
from gym_core.access import ADMIN, Access
from gym_core.connection import Runner
from gym_core.depth import MAX_DEPTH, too_deep
from gym_core.errors import BadRequest, Conflict, PalaestraError, misfit
from gym_core.loop_lag import LoopLag
from gym_core.middleware import Door, ErrorBody, echo_trace
from gym_core.parcel_route import ParcelRoute

T = TypeVar("T")

DOOR = web.AppKey("palaestra_door", Door)
"""The door of a hardened app; `app[DOOR].metrics` is its registry."""

GRACE_S = 5.0
"""A server that was asked to stop is gone after this many seconds, whatever its handlers do."""

MAX_BODY_BYTES = 64 << 20

IDLE_S = 75.0
"""A connection on which no request has arrived with all its headers for so long is cut."""

MAX_LINE_BYTES = 8190
"""Of the request line, and of one header."""

MAX_HEADERS = 128

BACKLOG = 8192
"""Connections that may wait to be accepted; the kernel has a bound of its own (4,096 as a rule). Where thousands of
callers come at once, one that finds no place there hears nothing for a second, then for two more, then for four."""


def harden(
    app: web.Application,
    server_name: str,
    token: Access | str | None = None,
    *,
    max_body_bytes: int = MAX_BODY_BYTES,
    open_paths: Iterable[str] = ("/healthz",),
    error_body: ErrorBody | None = None,
    scope: str = ADMIN,
    scopes: Mapping[str, str] | None = None,
    streamed: Iterable[str] = (),
    stall_s: float | None = None,
) -> web.Application:
    """Put the common door in front of `app` and add `/healthz` and `/metrics` where it has none. Returns `app`.

    A token opens what its scopes say: a route wants that of `scopes` (by its canonical path), else `scope`;
    `open_paths` need no token; handlers of the routes `streamed` read their bodies themselves, under deadlines of
    their own. A connection whose reader takes nothing of a reply for `stall_s` is cut (None: two minutes). Hardening
    twice keeps the first door and takes a token that it lacked.
    """
    access = Access.of(token)
    if DOOR in app:
        if app[DOOR].access.open:
            app[DOOR].access = access
        return app
    door = app[DOOR] = Door(
        server_name, access, frozenset(open_paths), error_body, scope, scopes or {}, frozenset(streamed), stall_s
    )

    @web.middleware
    async def middleware(request: web.Request, handler: Any) -> web.StreamResponse:
        return await door(request, handler)

    app.middlewares.insert(0, middleware)
    app.on_response_prepare.append(echo_trace)
    app.cleanup_ctx.append(_watch_loop)
    app._client_max_size = max_body_bytes  # aiohttp takes it only in the constructor, which the service has called
    known = {resource.canonical for resource in app.router.resources()}

    async def healthz(_: web.Request) -> web.Response:
        return json_reply({"status": "ok", "server": server_name})

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=door.metrics.text(), headers={"Content-Type": telemetry.Metrics.content_type})

    for path, handler in (("/healthz", healthz), ("/metrics", metrics)):
        if path not in known:
            app.router.add_get(path, handler)
    ParcelRoute(app._handle).add_to(app.router)  # what aiohttp's own server calls with a request
    return app


async def _watch_loop(app: web.Application) -> AsyncIterator[None]:
    lag = LoopLag(app[DOOR].metrics.loop_lag)
    lag.start()
    yield
    lag.stop()


def json_reply(value: Any, status: int = 200) -> web.Response:
    """A JSON reply of anything msgspec encodes."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


async def read_json(request: web.Request, kind: type[T] | Any = Any) -> T:
    """The request's body as `kind`. Raises `BadRequest` with the path of the field that does not fit."""
    return parse_json(await request.read(), kind)


def parse_json(body: bytes, kind: type[T] | Any = Any) -> T:
    """`body` as `kind`. Raises `BadRequest`: the path of the field that does not fit, or where the JSON breaks."""
    try:
        value: T = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        what, path = misfit(error)
        raise BadRequest(what, field=path.lstrip(".")) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not JSON: {error}") from None
    except RecursionError:
        raise _too_deep() from None
    if too_deep(value):
        raise _too_deep()
    return value


def _too_deep() -> BadRequest:
    return BadRequest("the body is nested too deeply", hint=f"{MAX_DEPTH} levels are the most")


def deadline_s(request: web.Request, default: float) -> float:
    """Seconds that this request may take: the caller's `X-Palaestra-Deadline`, never more than `default`."""
    given = request.headers.get(headers.DEADLINE)
    if given is None:
        return default
    try:
        seconds = float(given)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        raise BadRequest(f"{headers.DEADLINE} must be seconds, not {given[:32]!r}", field=headers.DEADLINE)
    return min(seconds, default)


class Served:
    """A server that runs in this loop."""

    def __init__(self, runner: web.AppRunner, host: str, port: int) -> None:
        self._runner = runner
        self.host = host
        self.port = port
        self.url = f"http://{_reachable(host)}:{port}"

    async def close(self) -> None:
        """Stop listening, let running requests end within the grace time, cancel the rest. Idempotent."""
        await self._runner.cleanup()

    async def __aenter__(self) -> Served:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


def _reachable(host: str) -> str:
    if host in ("", "0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


async def start(
    app: web.Application,
    host: str = "127.0.0.1",
    port: int = 0,
    token: Access | str | None = None,
    *,
    grace_s: float = GRACE_S,
    cancel_on_disconnect: bool = True,
    shared_with: Path | None = None,
) -> Served:
    """Serve `app` in the running loop; `port` 0 takes a free one. With `shared_with`, a unix socket of this process
    alone, other processes may listen on the same port.

    A caller who hangs up takes the request back: its handler is cancelled unless `cancel_on_disconnect` is False.
    Raises `BadRequest` for an address that cannot or must not be bound, `Conflict` for a port in use.
    """
    harden(app, "server", token)
    auth.require_token_beyond_loopback(host, app[DOOR].access)
    runner = Runner(
        app,
        app[DOOR],
        access_log=None,
        handler_cancellation=cancel_on_disconnect,
        shutdown_timeout=grace_s * 0.4,  # aiohttp takes it twice: for handlers to end, and to be cancelled
        keepalive_timeout=IDLE_S,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_LINE_BYTES,
        max_headers=MAX_HEADERS,
    )
    await runner.setup()
    try:
        if shared_with is not None:
            shared_with.unlink(missing_ok=True)
            await web.UnixSite(runner, str(shared_with)).start()
        await web.TCPSite(runner, host, port, backlog=BACKLOG, reuse_port=shared_with is not None).start()
    except OSError as error:
        await runner.cleanup()
        raise _bind_error(error, host, port) from None
    except BaseException:
        await runner.cleanup()
        raise
    return Served(runner, host, runner.addresses[-1][1])


def _bind_error(error: OSError, host: str, port: int) -> PalaestraError:
    if error.errno == errno.EADDRINUSE:
        return Conflict(
            f"port {port} on {host} is in use",
            field="port",
            hint="stop what listens there, or use port 0 for a free one",
        )
    reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return BadRequest(f"cannot listen on {host}:{port}: {reason}", field="host")


def run(
    app: web.Application,
    host: str = "127.0.0.1",
    port: int = 0,
    token: Access | str | None = None,
    announce: bool = True,
    *,
    grace_s: float = GRACE_S,
    parent_pid: int | None = None,
    cancel_on_disconnect: bool = True,
    shared_with: Path | None = None,
) -> None:
    """Serve `app` on uvloop until SIGTERM or SIGINT, or until the process `parent_pid` is gone.

    With `announce`, one JSON line on stdout says that the port is bound: {"ready": true, "url": …, "pid": …}.
    Raises what `start` raises. Without a `token`, what `Access.configured` finds counts.
    """
    access = Access.configured() if token is None else token

    late = threading.Timer(grace_s, os._exit, (1,))  # a handler that ignores cancellation must not hold the process
    late.daemon = True

    async def serve() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        served = await start(
            app,
            host,
            port,
            access,
            grace_s=grace_s,
            cancel_on_disconnect=cancel_on_disconnect,
            shared_with=shared_with,
        )
        if parent_pid is not None:
            watch_parent(parent_pid, stop, loop)
        if announce:
            ready = {"ready": True, "url": served.url, "pid": os.getpid()}
            print(msgspec.json.encode(ready).decode(), flush=True)
        await stop.wait()
        late.start()
        await served.close()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())
    finally:
        late.cancel()


def watch_parent(pid: int, stop: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    """Set `stop` once the process `pid` has ended: the kernel says so on a pidfd; without those, a look each second."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        stop.set()
        return
    except (AttributeError, OSError):  # not Linux, or a sandbox without the call

        def look() -> None:
            if os.getppid() == pid:
                loop.call_later(1.0, look)
            else:
                stop.set()

        look()
        return

    def gone() -> None:
        loop.remove_reader(handle)
        os.close(handle)
        stop.set()

    loop.add_reader(handle, gone)


def main(app: web.Application, host: str = "127.0.0.1", port: int = 0, **options: Any) -> NoReturn:
    """`run` as a program's last call: exit code 0 after a clean stop, 2 with one line on stderr when refused."""
    try:
        run(app, host, port, **options)
    except PalaestraError as error:
        print(f"error: {error.info()}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(0)
