"""An environment in this process, behind the same face as one over HTTP: the handlers run, the sockets are left out.

    app = build_app([registry.load("math")])                   # gym_core.server
    client = LocalEnvironment(app, "math")                     # where a Client of http://…/math would be
    await client.post("/verify", row)

Bodies are encoded and read as on the wire, so that nothing is shared between the two sides and an error is the one that
a caller from outside would get. Deadlines hold; nothing is repeated, because nothing gets lost on this way.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from gym_core import headers as names
from gym_core.client import Client
from gym_core.errors import DeadlineExceeded, EnvironmentFault, PalaestraError, UnknownName
from gym_core.http_reply import Response
from gym_core.routes import Routes
from gym_core.server import SERVICES
from gym_core.within import within

_Handler = Callable[[Any], Coroutine[Any, Any, web.Response]]


class _Request:
    """What the handlers of one environment ask of a request."""

    __slots__ = ("_body", "cookies", "headers", "match_info", "path")

    def __init__(self, path: str, headers: CIMultiDict[str], body: bytes) -> None:
        self.path = path
        self.headers = headers
        self.cookies: dict[str, str] = {}
        self.match_info = {"tool": path.strip("/")}
        self._body = body

    async def read(self) -> bytes:
        return self._body


class _Table:
    """What a router is to `Routes`, and no more."""

    def __init__(self) -> None:
        self._handlers: dict[tuple[str, str], _Handler] = {}

    def add_get(self, path: str, handler: _Handler) -> None:
        self._handlers["GET", path] = handler

    def add_post(self, path: str, handler: _Handler) -> None:
        self._handlers["POST", path] = handler

    def find(self, method: str, path: str) -> _Handler:
        return self._handlers.get((method, path)) or self._handlers["POST", "/{tool}"]


class LocalEnvironment(Client):
    """The client of one environment of an app that runs in this event loop."""

    def __init__(self, app: web.Application, name: str, *, timeout_s: float = 60.0) -> None:
        super().__init__(f"http://{name}.local", timeout_s=timeout_s, retries=0)
        if name not in app[SERVICES]:
            raise UnknownName(f"no environment {name!r} is served here", field="environment")
        self._routes = _Table()
        Routes(app[SERVICES][name]).add_to(self._routes, "")  # type: ignore[arg-type]

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        idempotent: bool = False,
        retry: bool = True,
        check: bool = True,
    ) -> Response:
        """One call of a handler, within `timeout_s`. Raises what the same request over HTTP would raise."""
        data, sent = self._prepare(body, headers, idempotent)
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        sent[names.DEADLINE] = f"{limit_s:.3f}"
        assert not callable(data), "handlers in this process take bodies whole"
        request = _Request(path, CIMultiDict(sent), data or b"")
        handler = self._routes.find(method, path)
        try:
            reply = await within(limit_s, handler(request))
        except TimeoutError:
            raise DeadlineExceeded(f"{path} did not answer within {limit_s:g} s") from None
        except PalaestraError as error:
            raise _as_told(error) from None
        except Exception as error:  # the boundary of the environment: over HTTP this would be its server's 500
            raise EnvironmentFault(f"the environment's server failed: {type(error).__name__}") from error
        assert reply.body is None or isinstance(reply.body, bytes), "the handlers of an environment do not stream"
        answer = Response(reply.status, reply.headers, reply.body or b"", self.base_url + path)
        if check and (failed := answer.error()) is not None:
            raise failed
        return answer

    async def close(self) -> None:
        """The app belongs to whoever started it."""


def _as_told(error: PalaestraError) -> PalaestraError:
    """A copy, as it would have travelled: its server named, nothing of the other side's traceback."""
    info = msgspec.structs.replace(error.info(), server=error.server or "environment")
    told = PalaestraError.from_info(info)
    told.retry_after_s = error.retry_after_s
    return told


@contextlib.asynccontextmanager
async def running(app: web.Application) -> AsyncIterator[web.Application]:
    """Start an app's own work (sweepers, workers) without serving it, and end it afterwards."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        yield app
    finally:
        await runner.cleanup()
