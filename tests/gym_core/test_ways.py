"""Known routes are answered without the app's look-up, and nothing else is told apart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gym_core import serve
from gym_core.client import Client

NAME: web.AppKey[str] = web.AppKey("name", str)


async def told(request: web.Request) -> web.Response:
    about = {
        "app": request.app[NAME],
        "info": dict(request.match_info),
        "route": request.match_info.route.resource.canonical,  # type: ignore[union-attr]
        "method": request.method,
        "body": (await request.read()).decode(),
    }
    return serve.json_reply(about)


@pytest.fixture
def resolved(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths that the app's router was asked for."""
    asked: list[str] = []
    resolve = web.UrlDispatcher.resolve

    async def noted(self: web.UrlDispatcher, request: web.Request) -> Any:
        asked.append(f"{request.method} {request.path_qs}")
        return await resolve(self, request)

    monkeypatch.setattr(web.UrlDispatcher, "resolve", noted)
    return asked


@pytest.fixture
def app() -> web.Application:
    made = web.Application()
    made[NAME] = "mine"
    made.router.add_post("/run", told)
    made.router.add_get("/run", told)
    made.router.add_get("/a b", told)
    made.router.add_post("/things/{name}", told)
    return made


@pytest.fixture
async def client(app: web.Application) -> AsyncIterator[Client]:
    async with await serve.start(app) as served, Client(served.url, retries=0) as opened:
        yield opened


async def test_a_known_route_is_looked_up_once(client: Client, resolved: list[str]) -> None:
    said: list[dict[str, Any]] = [await client.post_json("/run?n=1", b"x%d" % number) for number in range(3)]
    assert [one.pop("body") for one in said] == ["x0", "x1", "x2"]
    assert said == [{"app": "mine", "info": {}, "route": "/run", "method": "POST"}] * 3
    assert resolved == ["POST /run?n=1"]


async def test_methods_of_a_path_are_known_apart(client: Client, resolved: list[str]) -> None:
    for _ in range(2):
        assert (await client.post_json("/run", b""))["method"] == "POST"
        assert (await client.get_json("/run"))["method"] == "GET"
        refused = await client.request("PUT", "/run", b"", check=False)
        assert (refused.status, "GET" in refused.headers["Allow"]) == (405, True)
    assert resolved == ["POST /run", "GET /run", "PUT /run", "PUT /run"]


async def test_a_path_with_parts_that_vary_is_looked_up_each_time(client: Client, resolved: list[str]) -> None:
    infos: list[Any] = [(await client.post_json(f"/things/{name}", b""))["info"] for name in ("a", "b", "a")]
    assert infos == [{"name": "a"}, {"name": "b"}, {"name": "a"}]
    assert len(resolved) == 3


async def test_what_is_not_there_stays_unknown(client: Client, resolved: list[str]) -> None:
    assert [(await client.post("/nowhere", b"", check=False)).status for _ in range(2)] == [404, 404]
    assert len(resolved) == 2


async def test_an_encoded_path_is_the_same_route(client: Client) -> None:
    assert [(await client.get_json(path))["route"] for path in ("/a%20b", "/a b", "/%61%20b")] == ["/a b"] * 3


async def test_who_wants_leave_to_send_its_body_gets_it(client: Client) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(2):
            async with session.post(f"{client.base_url}/run", data=b"long", expect100=True) as reply:
                assert (await reply.json())["body"] == "long"


async def test_an_app_with_other_middlewares_keeps_them(app: web.Application, resolved: list[str]) -> None:
    seen = []

    @web.middleware
    async def other(request: web.Request, handler: Any) -> web.StreamResponse:
        seen.append(request.path)
        reply: web.StreamResponse = await handler(request)
        return reply

    app.middlewares.append(other)
    async with await serve.start(app) as served, Client(served.url, retries=0) as client:
        for _ in range(2):
            await client.post_json("/run", b"")
    assert seen == ["/run"] * 2 and len(resolved) == 2


async def test_a_token_is_asked_for_on_every_way(app: web.Application) -> None:
    async with (
        await serve.start(app, token="secret") as served,
        Client(served.url, token="secret", retries=0) as known,
        Client(served.url, retries=0) as stranger,
    ):
        for _ in range(2):
            assert (await known.post("/run", b"")).status == 200
            assert (await stranger.post("/run", b"", check=False)).status == 401
