"""From a request straight to the door and the handler, where the same route has been asked for before.

    request ─▶ known? ─▶ door ─▶ handler
                 └─ no ─▶ the app: router, middlewares ─▶ known from now on, if its path has no parts that vary

An app looks its routes up anew for each request and wraps each handler in each middleware: a tenth of what a request
costs a server.
"""

from __future__ import annotations

from typing import cast

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiohttp.web_urldispatcher import UrlMappingMatchInfo

from gym_core.middleware import Door


class Ways:
    """What `app` does with a request; `door` is its only middleware, or nothing is cut short."""

    def __init__(self, app: web.Application, door: Door) -> None:
        self._app = app
        self._door = door
        self._short = len(app.middlewares) == 1
        self._known: dict[tuple[str, str], tuple[UrlMappingMatchInfo, Handler]] = {}

    async def answer(self, asked: web.BaseRequest) -> web.StreamResponse:
        """The reply of the app."""
        request = cast(web.Request, asked)
        known = self._known.get((request.method, request.rel_url.raw_path))
        if known is None or hdrs.EXPECT in request.headers:
            return await self._by_the_app(request)
        request._match_info = known[0]
        return await self._door(request, known[1])

    async def _by_the_app(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._app._handle(request)
        finally:
            if self._short and request._match_info is not None:
                self._learn(request, request.match_info)

    def _learn(self, request: web.Request, found: UrlMappingMatchInfo) -> None:
        resource, path = found.route.resource, request.rel_url.raw_path
        if isinstance(resource, web.PlainResource) and resource.canonical == path and found.http_exception is None:
            shared = UrlMappingMatchInfo({}, found.route)
            shared.add_app(self._app)
            shared.freeze()
            self._known[request.method, path] = (shared, found.handler)
