"""Requests that leave together: nothing of each other's, whatever the peer does with the parcel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from aiohttp import web

from gym_core import headers, serve, telemetry
from gym_core.client import Backoff, Client
from gym_core.errors import BadRow, DeadlineExceeded, PalaestraError, Unavailable
from gym_core.parcel import MAX_BYTES, MAX_REQUESTS, PATH, TAKES_PARCELS, Asked, Told
from gym_core.tokens import FRAME_TYPE, pack_frame, unpack_frames


class Service:
    """Counts what arrives alone and in parcels. `hold` keeps `/wait` waiting; `seen` are the requests' headers."""

    def __init__(self) -> None:
        self.hold = asyncio.Event()
        self.waiting = asyncio.Semaphore(0)
        self.cancelled = asyncio.Semaphore(0)
        self.paths: list[str] = []
        self.seen: list[dict[str, str]] = []

    def app(self, token: str | None = None) -> web.Application:
        app = web.Application()
        app.router.add_post("/base/echo", self.echo)
        app.router.add_post("/base/wait", self.wait)
        app.router.add_post("/base/refuse", self.refuse)
        serve.harden(app, "testing", token)
        app.middlewares.insert(0, self.count)
        return app

    @web.middleware
    async def count(self, request: web.Request, handler: Any) -> web.StreamResponse:
        self.paths.append(request.path)
        reply: web.StreamResponse = await handler(request)
        return reply

    async def echo(self, request: web.Request) -> web.Response:
        self.seen.append(dict(request.headers))
        return web.Response(body=await request.read())

    async def wait(self, request: web.Request) -> web.Response:
        self.waiting.release()
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            self.cancelled.release()
            raise
        return web.Response(body=await request.read())

    async def refuse(self, _: web.Request) -> web.Response:
        raise BadRow("no such column", field="rows[0].x")


@pytest.fixture
def service() -> Service:
    return Service()


async def no_wait(_: float) -> None:
    """The waits between two attempts take no time."""


def client_of(url: str, **options: Any) -> Client:
    return Client(url, timeout_s=20.0, parcels=True, backoff=Backoff(sleep=no_wait), **options)


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    async with (
        await serve.start(service.app("secret"), grace_s=0.1) as served,
        client_of(f"{served.url}/base", token="secret") as opened,
    ):
        await opened.post("/echo", b"hello")  # now it knows that the peer takes parcels
        service.paths.clear()
        service.seen.clear()
        yield opened


async def together(client: Client, *paths: str, **options: Any) -> list[Any]:
    """The bodies or errors of requests that are made at the same moment, the body of each its place."""
    asked = (client.post(path, str(place).encode(), **options) for place, path in enumerate(paths))
    replies = await asyncio.gather(*asked, return_exceptions=True)
    return [reply if isinstance(reply, BaseException) else reply.body for reply in replies]


async def test_what_leaves_at_the_same_moment_travels_together(service: Service, client: Client) -> None:
    assert await together(client, *["/echo"] * 6) == [b"0", b"1", b"2", b"3", b"4", b"5"]
    assert service.paths.count(PATH) == 1
    assert service.paths.count("/base/echo") == 6  # the first one alone, the others in the parcel


async def test_one_at_a_time_goes_alone(service: Service, client: Client) -> None:
    for _ in range(3):
        await client.post("/echo", b"x")
    assert service.paths == ["/base/echo"] * 3


async def test_each_error_is_its_own(service: Service, client: Client) -> None:
    found = await together(client, "/echo", "/refuse", "/echo", "/refuse")
    assert [found[0], found[2]] == [b"0", b"2"]
    assert all(isinstance(error, BadRow) and error.field == "rows[0].x" for error in (found[1], found[3]))
    assert found[1] is not found[3]
    assert PATH in service.paths


async def test_each_keeps_its_trace_its_key_and_its_deadline(service: Service, client: Client) -> None:
    async def one(number: int) -> None:
        telemetry.trace_id.set(f"trace-of-number-{number}")
        await client.post("/echo", b"", {headers.IDEMPOTENCY: f"key-{number}"}, timeout_s=10.0 + number)

    await asyncio.gather(*(asyncio.create_task(one(number)) for number in range(5)))
    said = {seen[headers.IDEMPOTENCY]: seen for seen in service.seen}
    for number in range(5):
        seen = said[f"key-{number}"]
        assert seen[headers.TRACE] == f"trace-of-number-{number}"
        assert 9.0 + number < float(seen[headers.DEADLINE]) <= 10.0 + number


async def test_a_crowd_travels_in_several_parcels(service: Service, client: Client) -> None:
    count = 2 * MAX_REQUESTS + 5
    assert await together(client, *["/echo"] * count) == [str(place).encode() for place in range(count)]
    assert service.paths.count(PATH) == 3


@pytest.mark.parametrize(("said", "parcels"), [("3", 3), ("1", 1), ("0", 1), ("many", 1), ("9" * 40, 1), ("", 0)])
async def test_each_process_of_a_peer_gets_a_parcel(said: str, parcels: int) -> None:
    service = Service()
    app = service.app()
    app[serve.DOOR].num_processes = said
    async with await serve.start(app, grace_s=0.1) as served, client_of(f"{served.url}/base") as client:
        await client.post("/echo", b"hello")
        assert await together(client, *["/echo"] * 13) == [str(place).encode() for place in range(13)]
    assert service.paths.count(PATH) == parcels


async def test_large_bodies_go_alone_and_a_parcel_has_a_bound(service: Service, client: Client) -> None:
    large, middling = b"x" * (MAX_BYTES // 8 + 1), b"y" * (MAX_BYTES // 8)
    asked = [client.post("/echo", body) for body in (b"first", large, *[middling] * 12, large)]
    replies = await asyncio.gather(*asked)
    assert [len(reply.body) for reply in replies] == [5, len(large), *[len(middling)] * 12, len(large)]
    assert service.paths.count(PATH) == 2


async def test_one_that_takes_too_long_fails_alone(service: Service, client: Client) -> None:
    slow = asyncio.create_task(client.post("/wait", b"slow"))
    await service.waiting.acquire()
    late = asyncio.create_task(client.post("/wait", b"late", timeout_s=0.2))
    patient = asyncio.create_task(client.post("/wait", b"patient"))
    with pytest.raises(DeadlineExceeded, match=r"/base/wait did not answer within 0\.2 s"):
        await late
    service.hold.set()
    assert ((await slow).body, (await patient).body) == (b"slow", b"patient")


async def test_one_that_is_given_up_is_cancelled_there_and_the_others_are_not(service: Service, client: Client) -> None:
    asked = [asyncio.create_task(client.post("/wait", str(number).encode())) for number in range(4)]
    for _ in asked:
        await service.waiting.acquire()
    asked[2].cancel()
    await service.cancelled.acquire()
    service.hold.set()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert isinstance(found.pop(2), asyncio.CancelledError)
    assert [reply.body for reply in found if not isinstance(reply, BaseException)] == [b"0", b"1", b"3"]


async def test_when_the_last_one_is_given_up_the_connection_is_cut(service: Service, client: Client) -> None:
    slow = asyncio.create_task(client.post("/wait", b"slow"))
    await service.waiting.acquire()
    others = [asyncio.create_task(client.post("/wait", b"")) for _ in range(3)]
    for _ in others:
        await service.waiting.acquire()
    for task in others:
        task.cancel()
    for _ in others:
        await service.cancelled.acquire()
    service.hold.set()
    assert (await slow).body == b"slow"


async def test_one_that_is_given_up_before_it_leaves_never_does(service: Service, client: Client) -> None:
    slow = asyncio.create_task(client.post("/wait", b"slow"))
    await service.waiting.acquire()

    async def ask_and_leave() -> None:
        async with asyncio.timeout(0):
            await client.post("/echo", b"never")

    found = await asyncio.gather(ask_and_leave(), client.post("/echo", b"x"), return_exceptions=True)
    assert isinstance(found[0], TimeoutError)
    service.hold.set()
    await slow
    assert service.paths.count("/base/echo") == 1


async def test_closing_fails_what_is_under_way(service: Service, client: Client) -> None:
    asked = [asyncio.create_task(client.post("/wait", b"", retry=False)) for _ in range(3)]
    for _ in asked:
        await service.waiting.acquire()
    await client.close()
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(error, Unavailable) for error in found)


Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture
async def liar() -> AsyncIterator[tuple[list[Answer], list[str], Client]]:
    """A peer that claims to take parcels and answers each with what the test says; alone it echoes."""
    answers: list[Answer] = []
    paths: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        paths.append(request.path)
        body = await request.read()
        if request.path == PATH:
            return await answers[0](request)
        return web.Response(body=body, headers={TAKES_PARCELS: "1"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with client_of(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        await client.post("/echo", b"")
        paths.clear()
        yield answers, paths, client
    await runner.cleanup()


def telling(*frames: bytes, status: int = 200) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b"".join(frames), status=status, content_type=FRAME_TYPE)

    return answer


def frame(number: int, status: int = 200, body: bytes = b"told") -> bytes:
    return pack_frame(msgspec.json.encode(Told(number, status)), body)


def alone_after_refusal(status: int) -> Any:
    return pytest.param(telling(b"no", status=status), id=f"refused {status}")


@pytest.mark.parametrize("answer", [alone_after_refusal(status) for status in (400, 401, 404, 405, 413, 429)])
async def test_where_the_parcel_is_refused_each_goes_alone(
    liar: tuple[list[Answer], list[str], Client], answer: Answer
) -> None:
    answers, paths, client = liar
    answers.append(answer)
    assert await together(client, *["/echo"] * 4) == [b"0", b"1", b"2", b"3"]
    assert paths.count(PATH) == 1 and paths.count("/echo") == 4


NONSENSE = [
    pytest.param(telling(b"\x09\x00\x00"), id="ends inside a frame"),
    pytest.param(telling(pack_frame(b"[]", b"")), id="a head that is none"),
    pytest.param(telling(pack_frame(b'{"number":63,"status":200}', b"")), id="a number that nobody has"),
    pytest.param(telling(pack_frame(b'{"number":0,"status":7}', b"")), id="a status that is none"),
    pytest.param(telling(b"\xff" * 16), id="a frame of gigabytes"),
    pytest.param(telling(), id="nothing"),
    pytest.param(telling(b"oops", status=500), id="500"),
    pytest.param(telling(b"oops", status=503), id="503"),
]


@pytest.mark.parametrize("answer", NONSENSE)
async def test_what_may_be_repeated_is_repeated_after_nonsense(
    liar: tuple[list[Answer], list[str], Client], answer: Answer
) -> None:
    answers, _, client = liar
    answers.append(answer)

    async def once(request: web.Request) -> web.StreamResponse:
        answers[0] = honest
        return await answer(request)

    answers[0] = once
    assert await together(client, *["/echo"] * 4, idempotent=True) == [b"0", b"1", b"2", b"3"]


@pytest.mark.parametrize("answer", NONSENSE)
async def test_what_may_not_be_repeated_fails_in_a_typed_way(
    liar: tuple[list[Answer], list[str], Client], answer: Answer
) -> None:
    answers, paths, client = liar
    answers.append(answer)
    first, *others = await together(client, *["/echo"] * 4)
    assert first == b"0"
    assert all(isinstance(error, PalaestraError) for error in others)
    assert paths.count(PATH) == 1 and paths.count("/echo") == 1


async def honest(request: web.Request) -> web.StreamResponse:
    frames = unpack_frames(await request.read(), MAX_REQUESTS)
    asked = [(msgspec.json.decode(head, type=Asked), bytes(body)) for head, body in frames]
    return await telling(*(frame(one.number, body=body) for one, body in asked))(request)


async def test_what_was_answered_before_the_connection_broke_is_kept(
    liar: tuple[list[Answer], list[str], Client],
) -> None:
    answers, _, client = liar

    async def cut(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        await reply.write(frame(0) + frame(2))
        assert request.transport is not None
        request.transport.close()
        return reply

    answers.append(cut)
    found = await together(client, *["/echo"] * 4)
    assert [found[0], found[1], found[3]] == [b"0", b"told", b"told"]
    assert isinstance(found[2], Unavailable)


async def test_a_reply_that_comes_twice_counts_once(liar: tuple[list[Answer], list[str], Client]) -> None:
    answers, _, client = liar
    answers.append(telling(frame(0), frame(0, body=b"again"), frame(1)))
    assert await together(client, *["/echo"] * 3) == [b"0", b"told", b"told"]


async def test_paths_that_a_proxy_renames_go_alone_from_then_on(liar: tuple[list[Answer], list[str], Client]) -> None:
    """The parcel's paths are what the client calls them; a proxy in between knows the peer's by other names."""
    answers, paths, client = liar
    answers.append(telling(frame(0, status=404), frame(1, status=404)))
    assert await together(client, *["/echo"] * 3) == [b"0", b"1", b"2"]
    assert await together(client, *["/echo"] * 3) == [b"0", b"1", b"2"]
    assert paths.count(PATH) == 1


async def test_a_peer_that_does_not_say_so_never_sees_a_parcel() -> None:
    paths: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        paths.append(request.path)
        return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with client_of(f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        for _ in range(2):
            assert await together(client, *["/echo"] * 3) == [b"0", b"1", b"2"]
    await runner.cleanup()
    assert set(paths) == {"/echo"}
