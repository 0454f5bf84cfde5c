"""The door in front of every handler: errors in one shape, trace ids, token, limits, metrics."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator

import aiohttp
import msgspec
import pytest
from aiohttp import web

from gym_core import headers, serve, telemetry
from gym_core.errors import BadRow, Busy, EnvironmentFault


class Seeded(msgspec.Struct):
    seed: int


async def echo(request: web.Request) -> web.Response:
    return serve.json_reply({"trace": telemetry.trace_id.get(), "size": len(await request.read())})


async def bad_row(_: web.Request) -> web.Response:
    raise BadRow("`input` must be text", field="responses_create_params.input", hint="send text")


async def full(_: web.Request) -> web.Response:
    raise Busy("the queue is full", retry_after_s=2.4)


async def bug(_: web.Request) -> web.Response:
    raise KeyError("the secret inner name")


async def fault(_: web.Request) -> web.Response:
    raise EnvironmentFault("verify raised", stage="verify", server="environment maths")


async def seeded(request: web.Request) -> web.Response:
    return serve.json_reply(await serve.read_json(request, Seeded))


async def moved(_: web.Request) -> web.Response:
    raise web.HTTPFound("/echo")


async def cut(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"half")
    raise EnvironmentFault("gone in the middle")


def make_app(token: str | None = None, **options: object) -> web.Application:
    app = web.Application()
    for handler in (echo, bad_row, full, bug, fault, seeded, cut):
        app.router.add_post(f"/{handler.__name__}", handler)
    app.router.add_get("/moved", moved)
    return serve.harden(app, "testing", token, **options)  # type: ignore[arg-type]


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


async def post(session: aiohttp.ClientSession, url: str, **options: object) -> tuple[int, dict, dict]:
    async with session.post(url, **options) as reply:  # type: ignore[arg-type]
        return reply.status, dict(reply.headers), json.loads(await reply.read())


async def test_errors_of_ours_keep_status_field_and_hint(session: aiohttp.ClientSession) -> None:
    async with await serve.start(make_app()) as served:
        status, sent, body = await post(session, f"{served.url}/bad_row", headers={headers.TRACE: "abc-1"})
    assert status == 422
    assert sent[headers.TRACE] == "abc-1"
    assert body["error"] == {
        "code": "bad_row",
        "message": "`input` must be text",
        "stage": "",
        "server": "testing",
        "hint": "send text",
        "field": "responses_create_params.input",
        "trace_id": "abc-1",
    }


async def test_an_error_from_further_away_keeps_its_server(session: aiohttp.ClientSession) -> None:
    async with await serve.start(make_app()) as served:
        status, _, body = await post(session, f"{served.url}/fault")
    assert (status, body["error"]["server"], body["error"]["stage"]) == (500, "environment maths", "verify")


async def test_busy_says_when_to_come_back_in_whole_seconds(session: aiohttp.ClientSession) -> None:
    async with await serve.start(make_app()) as served:
        status, sent, body = await post(session, f"{served.url}/full")
    assert (status, sent["Retry-After"], body["error"]["code"]) == (429, "3", "busy")


async def test_a_bug_is_logged_with_its_traceback_and_told_without(
    session: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture
) -> None:
    async with await serve.start(make_app()) as served:
        with caplog.at_level(logging.ERROR, "palaestra.testing"):
            status, _, body = await post(session, f"{served.url}/bug", headers={headers.TRACE: "find-me"})
    assert status == 500
    assert body["error"]["code"] == "internal"
    assert "secret" not in json.dumps(body)
    assert "find-me" in body["error"]["hint"]
    assert "the secret inner name" in caplog.text


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [("POST", "/nowhere", 404, "unknown_name"), ("PUT", "/echo", 405, "bad_request")],
)
async def test_aiohttps_refusals_have_our_shape(
    session: aiohttp.ClientSession, method: str, path: str, status: int, code: str
) -> None:
    async with (
        await serve.start(make_app()) as served,
        session.request(method, served.url + path) as reply,
    ):
        body = await reply.json()
        assert (reply.status, body["error"]["code"], body["error"]["server"]) == (status, code, "testing")
        assert path in body["error"]["message"]
        if status == 405:
            assert reply.headers["Allow"] == "POST"


async def test_a_body_over_the_limit_is_refused(session: aiohttp.ClientSession) -> None:
    async with await serve.start(make_app(max_body_bytes=1000)) as served:
        assert (await post(session, f"{served.url}/echo", data=b"x" * 1000))[2]["size"] == 1000
        status, _, body = await post(session, f"{served.url}/echo", data=b"x" * 1001)
    assert (status, body["error"]["code"]) == (413, "too_large")
    assert "1000 bytes" in body["error"]["message"]


async def test_redirects_pass(session: aiohttp.ClientSession) -> None:
    async with (
        await serve.start(make_app()) as served,
        session.get(f"{served.url}/moved", allow_redirects=False) as reply,
    ):
        assert (reply.status, reply.headers["Location"]) == (302, "/echo")


@pytest.mark.parametrize("given", ["", "a b", "x" * 65, "ünïcode", 'q"uote'])
async def test_a_trace_id_that_could_harm_a_log_is_replaced(session: aiohttp.ClientSession, given: str) -> None:
    async with await serve.start(make_app()) as served:
        _, sent, body = await post(session, f"{served.url}/echo", headers={headers.TRACE: given})
    assert len(body["trace"]) == 16
    assert sent[headers.TRACE] == body["trace"]


async def test_each_request_without_trace_id_gets_its_own(session: aiohttp.ClientSession) -> None:
    async with await serve.start(make_app()) as served:
        first, second = [(await post(session, f"{served.url}/echo"))[2]["trace"] for _ in range(2)]
    assert first != second


async def test_the_token_guards_all_but_healthz(session: aiohttp.ClientSession) -> None:
    async with await serve.start(make_app("s3cret")) as served:
        for given in (None, "Bearer wrong", "Basic s3cret", "s3cret", "Bearer", "Bearer s3cret-and-more"):
            sent = {"Authorization": given} if given else {}
            status, replied, body = await post(session, f"{served.url}/echo", headers=sent)
            assert (status, body["error"]["code"]) == (401, "unauthorized"), given
            assert replied["WWW-Authenticate"] == "Bearer"
            assert "s3cret" not in json.dumps(body)
        assert (await post(session, f"{served.url}/echo", headers={"Authorization": "bearer s3cret"}))[0] == 200
        async with session.get(f"{served.url}/healthz") as reply:
            assert await reply.json() == {"status": "ok", "server": "testing"}
        async with session.get(f"{served.url}/metrics") as reply:
            assert reply.status == 401


async def test_metrics_count_requests_by_route_and_status(session: aiohttp.ClientSession) -> None:
    async with await serve.start(make_app()) as served:
        for _ in range(3):
            await post(session, f"{served.url}/echo")
        await post(session, f"{served.url}/full")
        await post(session, f"{served.url}/no/such/1")
        await post(session, f"{served.url}/no/such/2")
        async with session.get(f"{served.url}/metrics") as reply:
            text = await reply.text()
    assert 'palaestra_requests_total{method="POST",route="/echo",status="200"} 3.0' in text
    assert 'palaestra_requests_total{method="POST",route="/full",status="429"} 1.0' in text
    assert 'palaestra_requests_total{method="any",route="unmatched",status="404"} 2.0' in text
    assert 'palaestra_request_seconds_count{method="POST",route="/echo"} 3.0' in text
    assert 'palaestra_requests_in_flight{method="POST",route="/echo"} 0.0' in text
    assert 'palaestra_requests_in_flight{method="GET",route="/metrics"} 1.0' in text


async def test_a_service_keeps_its_own_healthz(session: aiohttp.ClientSession) -> None:
    app = web.Application()

    async def own(_: web.Request) -> web.Response:
        return serve.json_reply({"status": "ok", "environments": {"maths": "1"}})

    app.router.add_get("/healthz", own)
    async with (
        await serve.start(serve.harden(app, "environment")) as served,
        session.get(f"{served.url}/healthz") as reply,
    ):
        assert (await reply.json())["environments"] == {"maths": "1"}


async def test_an_error_in_the_middle_of_a_stream_cuts_it(session: aiohttp.ClientSession) -> None:
    async with (
        await serve.start(make_app()) as served,
        session.post(f"{served.url}/cut", headers={headers.TRACE: "streamed"}) as reply,
    ):
        assert reply.headers[headers.TRACE] == "streamed"
        with pytest.raises(aiohttp.ClientError):
            await reply.read()


@pytest.mark.parametrize(
    ("body", "field", "says"),
    [
        (b'{"seed":"x"}', "seed", "Expected `int`, got `str`"),
        (b"{}", "", "missing required field `seed`"),
        (b"{", "", "not JSON"),
        (b"\xff", "", "not JSON"),
    ],
)
async def test_a_bad_body_names_its_field(session: aiohttp.ClientSession, body: bytes, field: str, says: str) -> None:
    async with await serve.start(make_app()) as served:
        status, _, replied = await post(session, f"{served.url}/seeded", data=body)
    assert (status, replied["error"]["field"]) == (400, field)
    assert says in replied["error"]["message"]


async def test_another_api_keeps_its_error_shape(session: aiohttp.ClientSession) -> None:
    app = make_app(error_body=lambda info, status: {"error": {"message": info.message, "type": str(status)}})
    async with await serve.start(app) as served:
        assert (await post(session, f"{served.url}/nowhere"))[2] == {
            "error": {"message": "there is no /nowhere here", "type": "404"}
        }


async def test_hanging_up_cancels_the_handler(session: aiohttp.ClientSession) -> None:
    began, cancelled = asyncio.Event(), asyncio.Event()

    async def endless(_: web.Request) -> web.Response:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return web.Response()

    app = web.Application()
    app.router.add_post("/endless", endless)
    async with await serve.start(serve.harden(app, "testing")) as served:
        request = asyncio.create_task(session.post(f"{served.url}/endless").__aenter__())
        await began.wait()
        request.cancel()
        await asyncio.wait_for(cancelled.wait(), 5)
        async with session.get(f"{served.url}/metrics") as reply:
            assert 'route="/endless",status="499"} 1.0' in await reply.text()
