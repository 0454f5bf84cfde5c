"""The dashboard's routes, under `/dashboard/` of an application of its own or of another server's.

GET /dashboard/                    the page; its files, open to all: they hold nothing
GET /dashboard/api/runs            runs of all stores
GET /dashboard/api/run             one run: ?store= &run=
GET /dashboard/api/rollouts        a page of rollouts, filtered: ?store= &run= …
GET /dashboard/api/rollout         one rollout; /text more of a part, /tokens a page of a trace, /raw as it is stored
GET /dashboard/api/live            server-sent events: runs, run, services, trouble
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
from aiohttp import hdrs, web

from gym_core import auth
from gym_core.access import Access
from gym_core.errors import BadRequest, Unauthorized
from gym_core.serve import DOOR, harden, json_reply
from palaestra.dashboard.catalogue import Catalogue
from palaestra.dashboard.library import Library
from palaestra.dashboard.live import Live
from palaestra.dashboard.selection import Wanted, page
from palaestra.dashboard.services import Services
from palaestra.dashboard.viewer import Viewer

SERVER = "dashboard"
BASE = "/dashboard"
PAGE = Path(__file__).with_name("page")
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def build_app(
    library: Library,
    services: Services | None = None,
    *,
    token: Access | str | None = None,
    tokenizer: Path | None = None,
) -> web.Application:
    """A server that shows `library`; it closes library and services when it ends."""
    app = web.Application()
    harden(app, SERVER, token, scope="rollouts:read")

    async def home(_: web.Request) -> web.Response:
        raise web.HTTPFound(f"{BASE}/")

    app.router.add_get("/", home)
    app[DOOR].open_paths |= {"/"}
    return mount(app, library, services, tokenizer=tokenizer)


def mount(
    app: web.Application, library: Library, services: Services | None = None, *, tokenizer: Path | None = None
) -> web.Application:
    """Add the page to a hardened application, behind its door and its token."""
    services = services or Services()
    if app[DOOR].server != SERVER:  # mounted in another server, which is then worth watching too
        services.include(app[DOOR].server, app[DOOR].metrics.text)
    routes = Routes(app, library, services, tokenizer)
    files = {path.name: (path.read_bytes(), TYPES[path.suffix]) for path in PAGE.iterdir() if path.suffix in TYPES}
    paths = set()
    for name, (body, kind) in files.items():
        path = f"{BASE}/" if name == "index.html" else f"{BASE}/{name}"
        app.router.add_get(path, _file(body, kind))
        paths.add(path)
    app[DOOR].open_paths |= paths
    for path, handler in routes.handlers().items():
        app.router.add_get(f"{BASE}/api/{path}", handler)
        app[DOOR].scopes[f"{BASE}/api/{path}"] = "rollouts:read"
    app.on_shutdown.append(routes.stop)
    app.on_cleanup.append(routes.close)
    return app


def _file(body: bytes, kind: str) -> Any:
    async def send(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=HEADERS)

    return send


class Routes:
    """The handlers of the data that the page asks for."""

    def __init__(self, app: web.Application, library: Library, services: Services, tokenizer: Path | None) -> None:
        self._app = app
        self._library = library
        self._catalogue = Catalogue(library)
        self._services = services
        self._viewer = Viewer(library, tokenizer)
        self._live = Live(self._catalogue, services)

    def handlers(self) -> dict[str, Any]:
        made = {
            "runs": self.runs,
            "run": self.run,
            "rollouts": self.rollouts,
            "rollout": self.rollout,
            "rollout/text": self.text,
            "rollout/tokens": self.tokens,
            "rollout/raw": self.raw,
            "live": self.live,
        }
        return {path: self._guarded(handler) for path, handler in made.items()}

    def _guarded(self, handler: Any) -> Any:
        async def answer(request: web.Request) -> web.StreamResponse:
            if self._app[DOOR].access.open:
                check_host(request.headers.get(hdrs.HOST, ""))
            response: web.StreamResponse = await handler(request)
            if not response.prepared:
                response.headers["X-Content-Type-Options"] = "nosniff"
                response.headers["Cache-Control"] = "no-store"
            return response

        return answer

    async def stop(self, _: web.Application) -> None:
        """End the streams first: a server does not wait for who only watches."""
        self._live.stop()

    async def close(self, _: web.Application) -> None:
        await self._services.close()
        await self._library.close()

    async def runs(self, _: web.Request) -> web.Response:
        return json_reply(await self._catalogue.runs())

    async def run(self, request: web.Request) -> web.Response:
        return json_reply(await self._catalogue.run(_asked(request, "store"), request.query.get("run", "")))

    async def rollouts(self, request: web.Request) -> web.Response:
        wanted = read_wanted(request)
        async with self._library.reading(_asked(request, "store")) as store:
            return json_reply(await page(store, wanted))

    async def rollout(self, request: web.Request) -> web.Response:
        return json_reply(await self._viewer.show(*_which(request)))

    async def text(self, request: web.Request) -> web.Response:
        return json_reply(
            await self._viewer.text(*_which(request), _number(request, "part"), _number(request, "start"))
        )

    async def tokens(self, request: web.Request) -> web.Response:
        where = (_number(request, "trace"), _number(request, "start"), _number(request, "count", 2000))
        return json_reply(await self._viewer.tokens(*_which(request), *where))

    async def raw(self, request: web.Request) -> web.Response:
        return json_reply(await self._viewer.raw(*_which(request)))

    async def live(self, request: web.Request) -> web.StreamResponse:
        store, run = request.query.get("store", ""), request.query.get("run")
        return await self._live.answer(request, (store, run) if store and run is not None else None)


def check_host(host: str) -> None:
    """Raises `Unauthorized` for a request under a name: without a token a foreign page that points its own name at
    this machine (DNS rebinding) would read what is here. Addresses and localhost cannot be pointed anywhere."""
    name = urlsplit(f"//{host}").hostname or ""
    if not auth.is_loopback(name) and not _is_address(name):
        raise Unauthorized(
            f"the dashboard is not open under the name {name[:80]!r}",
            field="Host",
            hint="use http://127.0.0.1, or set PALAESTRA_TOKEN",
        )


def _is_address(name: str) -> bool:
    return bool(name) and (":" in name or name.replace(".", "").isdigit())


def _asked(request: web.Request, name: str) -> str:
    value = request.query.get(name, "")
    if not value:
        raise BadRequest(f"say which {name}", field=name)
    return value


def _which(request: web.Request) -> tuple[str, str]:
    return _asked(request, "store"), _asked(request, "id")


def _number(request: web.Request, name: str, default: int = 0) -> int:
    given = request.query.get(name, str(default))
    try:
        return int(given)
    except ValueError:
        raise BadRequest(f"`{name}` must be a whole number, not {given[:32]!r}", field=name) from None


def read_wanted(request: web.Request) -> Wanted:
    """The selection in a query. Raises `BadRequest` with the field that does not fit."""
    given = {key: value for key, value in request.query.items() if key != "store" and value != ""}
    given = {"run_id" if key == "run" else key: value for key, value in given.items()}
    try:
        wanted = msgspec.convert({"run_id": "", **given}, Wanted, strict=False)
    except msgspec.ValidationError as error:
        what, _, path = str(error).partition(" - at `$.")
        raise BadRequest(what, field=path.rstrip("`")) from None
    wanted.check()
    return wanted
