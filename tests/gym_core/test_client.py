"""The client against peers that fail in every way: closing, hanging, refusing, truncating, talking nonsense."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gym_core import headers, serve, telemetry
from gym_core.client import Backoff, Client, Response
from gym_core.errors import (
    BadRequest,
    BadRow,
    Busy,
    DeadlineExceeded,
    EnvironmentFault,
    PalaestraError,
    RemoteError,
    Unauthorized,
    Unavailable,
    UnknownName,
)
from gym_core.tokens import FRAME_TYPE, pack_frame

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Peer:
    """Answers the n-th request with the n-th of `answers`; the last one again and again. Keeps what was sent."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.requests: list[web.Request] = []
        self.bodies: list[bytes] = []
        self.transports: set[asyncio.BaseTransport | None] = set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        self.transports.add(request.transport)
        self.bodies.append(await request.read())
        return await self.answers[min(len(self.requests), len(self.answers)) - 1](request)


def reply(status: int = 200, body: bytes = b'{"ok":true}', **sent: str) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, body=body, headers={k.replace("_", "-"): v for k, v in sent.items()})

    return answer


def raising(error: PalaestraError) -> Answer:
    async def answer(_: web.Request) -> web.StreamResponse:
        raise error

    return answer


def raw(data: bytes) -> Answer:
    """These bytes, then the connection closes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        assert isinstance(request.transport, asyncio.Transport)
        request.transport.write(data)
        request.transport.close()
        return web.Response()

    return answer


async def hang(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


@pytest.fixture
async def peer() -> AsyncIterator[Peer]:
    made = Peer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    async with await serve.start(serve.harden(app, "peer"), grace_s=0.1) as served:
        made.url = served.url  # type: ignore[attr-defined]
        yield made


@pytest.fixture
def waits() -> list[float]:
    """The waits that the client would have slept."""
    return []


@pytest.fixture
async def client(peer: Peer, waits: list[float]) -> AsyncIterator[Client]:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    backoff = Backoff(base_s=0.1, sleep=sleep, uniform=lambda low, high: high)
    async with Client(peer.url, timeout_s=5.0, backoff=backoff) as opened:  # type: ignore[attr-defined]
        yield opened


async def test_posts_json_and_reads_json(peer: Peer, client: Client) -> None:
    peer.answers = [reply(body=b'{"reward":0.5}')]
    assert await client.post_json("/verify", {"a": [1, None]}, dict[str, float]) == {"reward": 0.5}
    assert peer.bodies == [b'{"a":[1,null]}']
    assert peer.requests[0].content_type == "application/json"


async def test_bytes_travel_as_they_are(peer: Peer, client: Client) -> None:
    peer.answers = [reply(body=pack_frame(b"{}", b"\x00\x01"))]
    response = await client.post("/run", b"\x00\xff", {"Content-Type": FRAME_TYPE, "Accept": FRAME_TYPE})
    head, blob = response.frame()
    assert (head, bytes(blob)) == (b"{}", b"\x00\x01")
    assert peer.bodies == [b"\x00\xff"]
    assert peer.requests[0].content_type == FRAME_TYPE


async def test_connections_are_reused_and_cookies_are_not_kept(peer: Peer, client: Client) -> None:
    peer.answers = [reply(Set_Cookie="session=1; Path=/")]
    for _ in range(5):
        await client.post("/seed_session", {})
    assert len(peer.transports) == 1
    assert all("Cookie" not in request.headers for request in peer.requests)


async def test_a_crowd_opens_its_connections_a_few_at_a_time(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands that connect at once all wait for each other, and none is through before its time is up."""
    opening, most = 0, 0
    plain = aiohttp.TCPConnector._create_connection

    async def counted(self: Any, *args: Any, **options: Any) -> Any:
        nonlocal opening, most
        opening += 1
        most = max(most, opening)
        try:
            return await plain(self, *args, **options)
        finally:
            opening -= 1

    monkeypatch.setattr(aiohttp.TCPConnector, "_create_connection", counted)
    monkeypatch.setattr("gym_core.pool.OPENING_AT_ONCE", 2)
    peer.answers = [reply()]
    async with Client(peer.url, connection_limit=20) as client:  # type: ignore[attr-defined]
        replies = await asyncio.gather(*(client.post("/run", {}) for _ in range(20)))
    assert [one.status for one in replies] == [200] * 20
    assert 1 <= most <= 2 and len(peer.transports) > 2


async def test_token_trace_and_deadline_travel(peer: Peer) -> None:
    peer.answers = [reply()]
    with telemetry.tracing("t-1"):
        async with Client(peer.url, token="s3cret") as client:  # type: ignore[attr-defined]
            await client.post("/x", {}, timeout_s=9.0)
    sent = peer.requests[0].headers
    assert sent["Authorization"] == "Bearer s3cret"
    assert sent[headers.TRACE] == "t-1"
    assert 8.0 < float(sent[headers.DEADLINE]) <= 9.0


async def test_an_error_of_ours_comes_back_as_itself(peer: Peer, client: Client) -> None:
    peer.answers = [raising(BadRow("no input", field="responses_create_params.input", hint="add one"))]
    with pytest.raises(BadRow, match="no input") as caught:
        await client.post("/run", {}, idempotent=True)
    assert caught.value.field == "responses_create_params.input"
    assert (caught.value.hint, caught.value.server, len(caught.value.trace_id)) == ("add one", "peer", 16)
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, BadRequest), (401, Unauthorized), (404, UnknownName), (429, Busy), (500, RemoteError), (302, RemoteError)],
)
async def test_a_foreign_error_is_translated_by_its_status(
    peer: Peer, client: Client, status: int, kind: type[PalaestraError]
) -> None:
    peer.answers = [reply(status, b'{"error":{"message":"no such model","code":"model_not_found","type":"x"}}')]
    with pytest.raises(PalaestraError, match="no such model") as caught:
        await client.post("/v1/responses", {}, retry=False)
    assert type(caught.value) is kind


async def test_what_is_not_checked_is_returned(peer: Peer, client: Client) -> None:
    peer.answers = [reply(500, b"error: the tool add failed (KeyError)", X_Palaestra_Tool="exception")]
    response = await client.post("/add", {}, idempotent=True, check=False)
    assert (response.status, response.text) == (500, "error: the tool add failed (KeyError)")
    assert isinstance(response.error(), RemoteError)
    assert len(peer.requests) == 1, "what the model reads is an answer, not a failure to repeat"


async def test_an_idempotent_request_outlives_a_passing_trouble(peer: Peer, client: Client, waits: list[float]) -> None:
    peer.answers = [raw(b""), reply(500, b"oops"), reply()]
    assert (await client.post("/verify", {}, idempotent=True)).ok
    assert waits == [0.1, 0.2]
    keys = {request.headers[headers.IDEMPOTENCY] for request in peer.requests}
    assert len(keys) == 1 and len(peer.requests) == 3


async def test_the_callers_idempotency_key_makes_it_repeatable(peer: Peer, client: Client) -> None:
    peer.answers = [raw(b""), reply()]
    await client.post("/run", {}, {headers.IDEMPOTENCY: "rollout-7"})
    assert [request.headers[headers.IDEMPOTENCY] for request in peer.requests] == ["rollout-7"] * 2


@pytest.mark.parametrize("answer", [raw(b""), reply(503), reply(429), reply(500)], ids=["cut", "503", "429", "500"])
async def test_what_may_have_happened_is_not_repeated(peer: Peer, client: Client, answer: Answer) -> None:
    peer.answers = [answer, reply()]
    with pytest.raises(PalaestraError):
        await client.post("/next_action", {})
    assert len(peer.requests) == 1


async def test_retries_are_bounded(peer: Peer, client: Client, waits: list[float]) -> None:
    peer.answers = [reply(503)]
    with pytest.raises(Unavailable, match="answered 503"):
        await client.post("/verify", {}, idempotent=True)
    assert (len(peer.requests), waits) == (3, [0.1, 0.2])


async def test_retry_after_is_the_least_wait(peer: Peer, client: Client, waits: list[float]) -> None:
    peer.answers = [raising(Busy("full", retry_after_s=2)), reply()]
    await client.post("/verify", {}, idempotent=True)
    assert waits == [2.0]


async def test_a_wait_past_the_deadline_is_not_begun(peer: Peer, client: Client, waits: list[float]) -> None:
    peer.answers = [raising(Busy("full", retry_after_s=60))]
    with pytest.raises(Busy) as caught:
        await client.post("/verify", {}, idempotent=True)
    assert (waits, caught.value.retry_after_s) == ([], 60.0)


@pytest.mark.parametrize("value", ["Wed, 21 Oct 2015 07:28:00 GMT", "-3", "nan", "soon", "1e9"])
async def test_a_retry_after_that_is_no_time_counts_as_absent(
    peer: Peer, client: Client, waits: list[float], value: str
) -> None:
    peer.answers = [reply(429, Retry_After=value), reply()]
    await client.post("/verify", {}, idempotent=True)
    assert waits == [0.1]


async def test_a_hanging_peer_is_a_deadline_not_a_hang(peer: Peer, client: Client) -> None:
    peer.answers = [hang]
    with pytest.raises(DeadlineExceeded, match=r"did not answer within 0\.02 s"):
        await client.post("/verify", {}, timeout_s=0.02, idempotent=True)
    assert len(peer.requests) == 1


async def test_the_deadline_covers_the_body(peer: Peer, client: Client) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"half")
        return await hang(request)

    peer.answers = [half]
    with pytest.raises(DeadlineExceeded):
        await client.post("/verify", {}, timeout_s=0.05)


async def test_waiting_for_a_connection_counts(peer: Peer) -> None:
    peer.answers = [hang]
    async with Client(peer.url, connection_limit=1) as client:  # type: ignore[attr-defined]
        first = asyncio.create_task(client.post("/verify", {}, timeout_s=5.0))
        while not peer.requests:
            await asyncio.sleep(0)
        with pytest.raises(DeadlineExceeded):
            await client.post("/verify", {}, timeout_s=0.02)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert len(peer.requests) == 1


async def test_nobody_there_is_unavailable_and_safe_to_repeat(waits: list[float]) -> None:
    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    backoff = Backoff(sleep=sleep, uniform=lambda low, high: high)
    async with Client(f"http://127.0.0.1:{port}", backoff=backoff) as client:
        with pytest.raises(Unavailable, match="nobody answers") as caught:
            await client.post("/run", {})
    assert len(waits) == 2, "no connection was made, so even a plain POST is tried again"
    assert caught.value.info().code == "unavailable"


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", Unavailable),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", Unavailable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\nx", RemoteError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx", RemoteError),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", RemoteError),
        (b"\x00\x01\x02garbage\xff\r\n\r\n", RemoteError),
        (b"", Unavailable),
    ],
    ids=["short body", "cut chunk", "length in words", "negative length", "ssh", "garbage", "nothing"],
)
async def test_broken_replies_are_typed(peer: Peer, client: Client, data: bytes, kind: type[PalaestraError]) -> None:
    peer.answers = [raw(data)]
    with pytest.raises(kind) as caught:
        await client.post("/verify", {})
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("body", [b"", b"{", b'{"reward":"high"}', b"<html>", b"\xff\xfe"])
async def test_a_reply_of_another_type_is_a_remote_error(peer: Peer, client: Client, body: bytes) -> None:
    peer.answers = [reply(body=body)]
    with pytest.raises(RemoteError, match="not what was asked for"):
        await client.post_json("/verify", {}, dict[str, float])


def test_a_reply_that_is_no_frame_is_a_remote_error() -> None:
    with pytest.raises(RemoteError, match="not a frame"):
        Response(200, {}, b"short").frame()


async def test_cancelling_cancels_the_peers_work(peer: Peer, client: Client) -> None:
    cancelled = asyncio.Event()

    async def notice(request: web.Request) -> web.StreamResponse:
        try:
            return await hang(request)
        finally:
            cancelled.set()

    peer.answers = [notice]
    task = asyncio.create_task(client.post("/generate", {}))
    while not peer.requests:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(cancelled.wait(), 5)


def streaming(*chunks: bytes, end: Answer | None = None) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": FRAME_TYPE})
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if end is not None:
            await end(request)
        return response

    return answer


async def test_frames_arrive_whatever_the_chunks(peer: Peer, client: Client) -> None:
    data = pack_frame(b'{"n":1}', b"one") + pack_frame(b'{"n":2}', b"")
    peer.answers = [streaming(data[:3], data[3:17], data[17:])]
    got = [(json.loads(head)["n"], blob) async for head, blob in client.stream("/rollouts", {"rows": []})]
    assert got == [(1, b"one"), (2, b"")]
    assert peer.requests[0].headers["Accept"] == FRAME_TYPE


async def test_a_frame_is_there_before_the_stream_ends(peer: Peer, client: Client) -> None:
    peer.answers = [streaming(pack_frame(b"{}", b"first"), end=hang)]
    stream = client.stream("/rollouts", {})
    assert await anext(stream) == (b"{}", b"first")
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_stream_that_ends_inside_a_frame_raises_after_the_whole_ones(peer: Peer, client: Client) -> None:
    peer.answers = [streaming(pack_frame(b"{}", b"whole") + pack_frame(b"{}", b"torn")[:-1])]
    got = []
    with pytest.raises(Unavailable, match="ended inside a frame"):
        async for _, blob in client.stream("/rollouts", {}):
            got.append(blob)
    assert got == [b"whole"]


async def test_a_stream_whose_connection_breaks_raises(peer: Peer, client: Client) -> None:
    peer.answers = [streaming(pack_frame(b"{}", b"whole"), end=raising(EnvironmentFault("in the middle")))]
    with pytest.raises(Unavailable):
        async for _ in client.stream("/rollouts", {}):
            pass


async def test_a_quiet_stream_and_a_long_one_end_in_time(peer: Peer, client: Client) -> None:
    peer.answers = [streaming(pack_frame(b"{}", b"x"), end=hang)]
    with pytest.raises(DeadlineExceeded, match=r"sent nothing for 0\.02 s"):
        _ = [frame async for frame in client.stream("/rollouts", {}, idle_s=0.02)]
    with pytest.raises(DeadlineExceeded, match=r"within 0\.03 s"):
        _ = [frame async for frame in client.stream("/rollouts", {}, timeout_s=0.03, idle_s=1.0)]


async def test_a_stream_that_is_refused_raises_the_refusal(peer: Peer, client: Client) -> None:
    peer.answers = [raising(BadRow("row 3 has no input", field="rows[3]"))]
    with pytest.raises(BadRow, match="row 3"):
        _ = [frame async for frame in client.stream("/rollouts", {})]


async def test_a_stream_of_something_else_is_a_remote_error(peer: Peer, client: Client) -> None:
    peer.answers = [streaming(b"\xff" * 64)]
    with pytest.raises(RemoteError, match="does not send frames"):
        _ = [frame async for frame in client.stream("/rollouts", {})]


def test_backoff_doubles_up_to_its_cap() -> None:
    backoff = Backoff(base_s=0.5, cap_s=3.0, uniform=lambda low, high: high)
    assert [backoff.wait_s(attempt, None) for attempt in range(4)] == [0.5, 1.0, 2.0, 3.0]
    assert backoff.wait_s(0, 7.0) == 7.0
    drawn = [Backoff().wait_s(3, None) for _ in range(50)]
    assert all(0.0 <= seconds <= 0.8 for seconds in drawn)
    assert len(set(drawn)) > 1


def test_an_address_without_scheme_is_refused() -> None:
    with pytest.raises(BadRequest, match="'localhost:8000' is not an address"):
        Client("localhost:8000")


async def test_a_closed_client_opens_again(peer: Peer, client: Client) -> None:
    peer.answers = [reply()]
    await client.get("/healthz")
    await client.close()
    await client.close()
    assert (await client.get("/healthz")).ok


async def test_a_body_of_a_megabyte_arrives_whole_and_is_sent_again_whole(peer: Peer, client: Client) -> None:
    peer.answers = [reply(503, b"{}"), reply()]
    body = bytes(range(256)) * 4096 + b"the end"
    await client.post("/big", body, idempotent=True)
    assert peer.bodies == [body, body]
