"""Requests in a parcel are answered as those that come alone, each by itself, and left as if their callers hung up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gym_core import headers, serve
from gym_core.access import Access, Grant
from gym_core.errors import BadRow
from gym_core.parcel import LEAVE_PATH, MAX_REQUESTS, PATH, TAKES_PARCELS, Asked, Told
from gym_core.token_file import digest
from gym_core.tokens import FRAME_TYPE, FrameReader, pack_frame


class Service:
    """Handlers that a parcel may ask; `gate` holds back `/wait` until it is opened."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.waiting = asyncio.Semaphore(0)
        self.cancelled = asyncio.Semaphore(0)

    def app(self, **options: Any) -> web.Application:
        app = web.Application()
        app.router.add_post("/echo/{name}", self.echo)
        app.router.add_post("/refuse", self.refuse)
        app.router.add_post("/wait", self.wait)
        app.router.add_post("/pieces", self.pieces)
        app.router.add_get("/moved", self.moved)
        return serve.harden(app, "testing", **options)

    async def echo(self, request: web.Request) -> web.Response:
        said = {
            "name": request.match_info["name"],
            "query": dict(request.query),
            "body": (await request.read()).decode(),
            "key": request.headers.get(headers.IDEMPOTENCY, ""),
        }
        return web.json_response(said, headers={headers.TOOL: "ok"})

    async def refuse(self, _: web.Request) -> web.Response:
        raise BadRow("no such column", field="rows[0].x", hint="leave it out")

    async def wait(self, _: web.Request) -> web.Response:
        self.waiting.release()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled.release()
            raise
        return web.Response(body=b"waited")

    async def pieces(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write(b"piece")
        return reply

    async def moved(self, _: web.Request) -> web.Response:
        raise web.HTTPFound("/elsewhere")


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
async def url(service: Service) -> AsyncIterator[str]:
    async with await serve.start(service.app(), grace_s=0.1) as served:
        yield served.url


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as opened:
        yield opened


def parcel(*asked: Asked, bodies: dict[int, bytes] | None = None) -> bytes:
    return b"".join(pack_frame(msgspec.json.encode(one), (bodies or {}).get(one.number, b"")) for one in asked)


def post(number: int, path: str, **sent: str) -> Asked:
    return Asked(number, "POST", path, {name.replace("_", "-"): value for name, value in sent.items()})


async def told(reply: aiohttp.ClientResponse) -> dict[int, tuple[Told, bytes]]:
    reader = FrameReader()
    found = [(msgspec.json.decode(head, type=Told), blob) for head, blob in reader.feed(await reply.read())]
    reader.close()
    return {one.number: (one, blob) for one, blob in found}


async def test_each_request_gets_the_answer_that_it_would_get_alone(url: str, session: aiohttp.ClientSession) -> None:
    asked = [
        post(0, "/echo/a?x=1&y=%20z", Idempotency_Key="k0"),
        post(1, "/refuse"),
        post(2, "/nowhere"),
        Asked(3, "DELETE", "/refuse"),
        Asked(4, "GET", "/healthz"),
        post(7, "/echo/b"),
    ]
    async with session.post(url + PATH, data=parcel(*asked, bodies={0: b"zero", 7: b"seven"})) as reply:
        assert reply.status == 200 and reply.content_type == FRAME_TYPE
        answers = await told(reply)
    assert sorted(answers) == [0, 1, 2, 3, 4, 7]
    for one in asked:
        body = {0: b"zero", 7: b"seven"}.get(one.number, b"")
        async with session.request(one.method, url + one.path, data=body, headers=one.headers) as alone:
            said, blob = answers[one.number]
            assert said.status == alone.status
            assert said.headers["Content-Type"] == alone.headers["Content-Type"]
            expected: dict[str, Any] = await alone.json()
            got = json.loads(blob)
            for one_error in (expected.get("error"), got.get("error")):
                if one_error:
                    one_error.pop("trace_id")
            assert got == expected
    assert answers[0][0].headers[headers.TOOL] == "ok"
    assert json.loads(answers[0][1]) == {"name": "a", "query": {"x": "1", "y": " z"}, "body": "zero", "key": "k0"}


@pytest.mark.parametrize("expected", ["100-continue", "pizza"])
async def test_nothing_is_expected_inside_a_parcel(url: str, session: aiohttp.ClientSession, expected: str) -> None:
    async with session.post(url + PATH, data=parcel(post(0, "/echo/a", Expect=expected), post(1, "/echo/b"))) as reply:
        answers = await told(reply)
    assert {number: one.status for number, (one, _) in answers.items()} == {0: 200, 1: 200}


async def test_one_that_waits_holds_up_no_other(service: Service, url: str, session: aiohttp.ClientSession) -> None:
    async with session.post(url + PATH, data=parcel(post(0, "/wait"), post(1, "/echo/fast"))) as reply:
        reader = FrameReader()
        first = reader.feed(await reply.content.readany())
        assert [msgspec.json.decode(head, type=Told).number for head, _ in first] == [1]
        service.gate.set()
        (last,) = reader.feed(await reply.read())
        assert (msgspec.json.decode(last[0], type=Told).number, last[1]) == (0, b"waited")


async def test_a_request_that_is_left_is_cancelled_and_the_others_are_not(
    service: Service, url: str, session: aiohttp.ClientSession
) -> None:
    asked = parcel(post(0, "/wait"), post(1, "/wait"))
    async with session.post(url + PATH, data=asked, headers={TAKES_PARCELS: "p1"}) as reply:
        await service.waiting.acquire()
        await service.waiting.acquire()
        body = {"name": "p1", "numbers": [1, 9]}
        async with session.post(url + LEAVE_PATH, json=body) as left:
            assert await left.json() == {"left": 1}
        await service.cancelled.acquire()
        service.gate.set()
        answers = await told(reply)
    assert {number: blob for number, (_, blob) in answers.items()} == {0: b"waited"}
    async with session.post(url + LEAVE_PATH, json=body) as left:  # the parcel is over
        assert await left.json() == {"left": 0}


async def test_a_caller_that_hangs_up_leaves_all(service: Service, url: str, session: aiohttp.ClientSession) -> None:
    async with session.post(url + PATH, data=parcel(post(0, "/wait"), post(1, "/wait"))) as reply:
        await service.waiting.acquire()
        await service.waiting.acquire()
        reply.close()
    await service.cancelled.acquire()
    await service.cancelled.acquire()


async def test_a_stream_and_a_redirect_are_told_as_such(url: str, session: aiohttp.ClientSession) -> None:
    async with session.post(url + PATH, data=parcel(post(0, "/pieces"), Asked(1, "GET", "/moved"))) as reply:
        answers = await told(reply)
    assert answers[0][0].status == 400 and b"in pieces" in answers[0][1]
    assert answers[1][0].status == 302


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (b"\x01", "left over"),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", "are left"),
        (pack_frame(b"{"), "request 0 of the parcel"),
        (pack_frame(b'{"number":0,"method":"POST","path":5}'), "request 0 of the parcel"),
        (parcel(post(0, "/a"), post(0, "/b")), "number 0"),
        (b"".join(pack_frame(b"{}") for _ in range(MAX_REQUESTS + 1)), f"more than {MAX_REQUESTS}"),
        (parcel(post(0, PATH)), "holds no parcels"),
        (parcel(post(0, LEAVE_PATH + "?a=1")), "holds no parcels"),
        (parcel(post(0, "http://elsewhere/x")), "no path"),
        (parcel(post(0, "//elsewhere/x")), "no path"),
        (parcel(post(0, "relative")), "no path"),
        (parcel(post(0, "")), "no path"),
        (parcel(post(0, "/a b")), "no path"),
        (parcel(post(0, "/a\r\nX: y")), "no path"),
        (parcel(Asked(0, "PO ST", "/a")), "HTTP does not know"),
        (parcel(Asked(0, "POST", "/a", {"": "x"})), "HTTP does not know"),
        (parcel(Asked(0, "POST", "/a", {"X:y": "x"})), "HTTP does not know"),
        (parcel(Asked(0, "POST", "/a", {"X": "a\r\nY: b"})), "control characters"),
        (parcel(Asked(0, "POST", "/a", {"X": "a" * 8191})), "too long"),
        (parcel(Asked(0, "POST", "/a", {f"X{n}": "" for n in range(129)})), "too many headers"),
    ],
)
async def test_what_is_no_parcel_is_refused_whole(
    url: str, session: aiohttp.ClientSession, body: bytes, what: str
) -> None:
    async with session.post(url + PATH, data=body) as reply:
        assert reply.status == 400
        assert what in (await reply.json())["error"]["message"]


async def test_an_empty_parcel_has_an_empty_answer(url: str, session: aiohttp.ClientSession) -> None:
    async with session.post(url + PATH, data=b"") as reply:
        assert (reply.status, await reply.read()) == (200, b"")


async def test_two_parcels_of_one_name_are_not_mixed_up(
    service: Service, url: str, session: aiohttp.ClientSession
) -> None:
    named = {TAKES_PARCELS: "same"}
    async with session.post(url + PATH, data=parcel(post(0, "/wait")), headers=named) as first:
        await service.waiting.acquire()
        async with session.post(url + PATH, data=parcel(post(0, "/echo/x")), headers=named) as second:
            assert second.status == 400
        service.gate.set()
        assert (await told(first))[0][1] == b"waited"


async def test_the_token_of_the_parcel_opens_what_it_opens_alone(
    service: Service, session: aiohttp.ClientSession
) -> None:
    grant = Grant(digest("mine"), frozenset({"echo"}))
    app = service.app(token=Access(lambda: (grant,)), scopes={"/echo/{name}": "echo"})
    async with await serve.start(app, grace_s=0.1) as served:
        forged = post(0, "/echo/a", Authorization="Bearer other")
        async with session.post(served.url + PATH, data=parcel(forged)) as reply:
            assert reply.status == 401
        shown = {"Authorization": "Bearer mine"}
        asked = parcel(forged, post(1, "/refuse"))
        async with session.post(served.url + PATH, data=asked, headers=shown) as reply:
            answers = await told(reply)
    assert {number: one.status for number, (one, _) in answers.items()} == {0: 200, 1: 403}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    heads=st.lists(
        st.binary(max_size=40)
        | st.builds(
            lambda number, method, path: json.dumps({"number": number, "method": method, "path": path}).encode(),
            st.integers(-2, 70),
            st.text(max_size=8),
            st.text(max_size=30) | st.from_regex(r"/[ -~]{0,20}", fullmatch=True),
        ),
        max_size=5,
    ),
    tail=st.binary(max_size=12),
)
async def test_whatever_is_sent_is_answered_or_refused(
    url: str, session: aiohttp.ClientSession, heads: list[bytes], tail: bytes
) -> None:
    async with session.post(url + PATH, data=b"".join(pack_frame(head) for head in heads) + tail) as reply:
        assert reply.status in (200, 400)
        if reply.status == 200:
            answers = await told(reply)
            assert len(answers) == len(heads)
            assert all(one.status < 500 for one, _ in answers.values())
