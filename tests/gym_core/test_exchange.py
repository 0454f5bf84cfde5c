"""Requests over the pool itself: what goes out, what comes back, and what becomes of the connection."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from gym_core import client as client_module
from gym_core.client import Client
from gym_core.errors import BadRequest, DeadlineExceeded, PalaestraError, RemoteError, Unavailable
from gym_core.exchange import SMALL_BODY
from gym_core.tokens import pack_frame

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Wire:
    """A peer that is bytes: `play` is given each connection; what was asked is kept."""

    def __init__(self) -> None:
        self.play: Play | None = None
        self.connections = 0
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        assert self.play is not None
        try:
            await self.play(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        self.asked.append(head)
        return await reader.readexactly(length)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Wire()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]
    async with server:
        yield made


@pytest.fixture
async def client(wire: Wire) -> AsyncIterator[Client]:
    async with Client(wire.url, timeout_s=10.0, retries=0) as opened:  # type: ignore[attr-defined]
        yield opened


def answering(wire: Wire, *answers: bytes) -> Play:
    """Each request of a connection gets the next of these, the last one again and again."""

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in range(100):
            await wire.request(reader)
            writer.write(answers[min(number, len(answers) - 1)])

    return play


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_what_goes_out_is_http_with_one_of_each_header(wire: Wire, client: Client) -> None:
    wire.play = answering(wire, OK)
    reply = await client.post("/a b/ü?q=1&r=%26", b"body", {"X-Mine": "1"}, idempotent=True)
    assert (reply.status, reply.body, reply.url) == (200, b"ok", f"{client.base_url}/a b/ü?q=1&r=%26")
    line, *headers = wire.asked[0].decode().rstrip("\r\n").split("\r\n")
    assert line == "POST /a%20b/%C3%BC?q=1&r=%26 HTTP/1.1"
    names = [header.split(":")[0].lower() for header in headers]
    assert len(set(names)) == len(names)
    assert {"host", "accept-encoding", "content-length", "idempotency-key", "x-palaestra-deadline"} < set(names)
    assert "X-Mine: 1" in headers and f"Host: {client.base_url.removeprefix('http://')}" in headers


async def test_a_name_and_a_password_in_the_address_are_sent_as_its_header(wire: Wire) -> None:
    wire.play = answering(wire, OK)
    address = wire.url.replace("http://", "http://user:pw@")  # type: ignore[attr-defined]
    async with Client(address, retries=0) as client:
        assert (await client.post("/x", b"{}")).body == b"ok"
    assert b"\r\nAuthorization: Basic dXNlcjpwdw==\r\n" in wire.asked[0]  # user:pw in base64
    assert b"user" not in wire.asked[0].partition(b"Authorization")[0]


async def test_one_connection_serves_one_after_the_other(wire: Wire, client: Client) -> None:
    wire.play = answering(wire, OK, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", OK)
    assert [(await client.post("/x", b"{}")).body for _ in range(4)] == [b"ok"] * 4
    assert wire.connections == 1


async def test_streams_that_were_read_to_their_end_leave_their_connection_to_the_next(
    wire: Wire, client: Client
) -> None:
    frame = pack_frame(b"{}", b"blob")
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {2 * len(frame)}\r\n\r\n"
    wire.play = answering(wire, head.encode() + 2 * frame)
    for _ in range(3):
        assert [blob async for _, blob in client.stream("/x", b"{}")] == [b"blob"] * 2
    assert wire.connections == 1
    async with contextlib.aclosing(client.stream("/x", b"{}")) as frames:
        await anext(frames)  # and leave: the whole reply had come
    await client.post("/x", b"{}")
    assert wire.connections == 1


async def test_a_stream_that_is_left_cuts_its_connection(wire: Wire, client: Client) -> None:
    ended = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        frame = pack_frame(b"{}", b"blob")
        writer.write(f"{len(frame):x}\r\n".encode() + frame + b"\r\n")
        assert await reader.read() == b""
        ended.set()

    wire.play = play
    async with contextlib.aclosing(client.stream("/x", b"{}")) as frames:
        assert await anext(frames) == (b"{}", b"blob")
    await asyncio.wait_for(ended.wait(), 30)


async def test_a_reply_that_closes_its_connection_is_whole(wire: Wire, client: Client) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 100_000)

    wire.play = play
    assert [len((await client.post("/x", b"{}")).body) for _ in range(2)] == [100_000] * 2
    assert wire.connections == 2


async def test_a_preliminary_reply_is_passed_over(wire: Wire, client: Client) -> None:
    wire.play = answering(wire, b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK)
    assert (await client.post("/x", b"{}")).body == b"ok"


async def test_a_reply_without_a_body_is_empty(wire: Wire, client: Client) -> None:
    wire.play = answering(wire, b"HTTP/1.1 204 No Content\r\n\r\n", OK)
    assert [(await client.post("/x", b"{}")).body for _ in range(2)] == [b"", b"ok"]
    assert wire.connections == 1


async def test_a_body_in_pieces_is_read_to_its_end(wire: Wire, client: Client) -> None:
    begun = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        await writer.drain()
        await begun.wait()
        writer.write(b"def")
        await writer.drain()

    wire.play = play
    task = asyncio.create_task(client.post("/x", b"{}"))
    while not wire.asked:
        await asyncio.sleep(0)
    begun.set()
    assert (await task).body == b"abcdef"


async def test_a_packed_reply_that_nobody_asked_for_is_bounded(
    wire: Wire, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MAX_UNPACKED_BYTES", 1 << 20)
    packed = [gzip.compress(b"a" * size) for size in (1 << 19, 1 << 22)]
    head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n"
    wire.play = answering(wire, *(head.format(len(body)).encode() + body for body in packed))
    assert len((await client.post("/x", b"{}")).body) == 1 << 19
    with pytest.raises(RemoteError, match="over 1048576 bytes"):
        await client.post("/x", b"{}")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"", Unavailable),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", Unavailable),
        (b"SSH-2.0-OpenSSH\r\n\r\n", RemoteError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", RemoteError),
    ],
    ids=["nothing", "cut", "no HTTP", "no length"],
)
async def test_what_breaks_is_typed_and_leaves_no_connection_behind(
    wire: Wire, client: Client, answer: bytes, kind: type[PalaestraError]
) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.request(reader)
        writer.write(answer)

    wire.play = play
    with pytest.raises(kind):
        await client.post("/x", b"{}")
    wire.play = answering(wire, OK)
    assert (await client.post("/x", b"{}")).body == b"ok"
    assert wire.connections == 2


async def test_a_request_that_ran_out_of_time_cuts_its_connection(wire: Wire, client: Client) -> None:
    ended = asyncio.Event()

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await wire.request(reader)
        assert await reader.read() == b""
        ended.set()

    wire.play = play
    with pytest.raises(DeadlineExceeded):
        await client.post("/x", b"{}", timeout_s=0.05)
    await asyncio.wait_for(ended.wait(), 30)


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b"])
async def test_a_header_that_would_begin_another_is_not_sent(wire: Wire, client: Client, value: str) -> None:
    wire.play = answering(wire, OK)
    with pytest.raises(ValueError, match="header"):
        await client.post("/x", b"{}", {"X-Mine": value})
    assert wire.asked == []
    assert (await client.post("/x", b"{}")).body == b"ok"


@pytest.mark.parametrize("size", [SMALL_BODY, SMALL_BODY + 1, 3 << 20])
async def test_a_body_of_any_size_arrives_whole(wire: Wire, client: Client, size: int) -> None:
    bodies = []

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        bodies.append(await wire.request(reader))
        writer.write(OK)

    wire.play = play
    sent = bytes(range(256)) * (size // 256 + 1)
    assert (await client.post("/x", sent[:size])).body == b"ok"
    assert bodies == [sent[:size]]


async def test_a_refusal_before_the_body_was_read_is_heard(wire: Wire, client: Client) -> None:
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno")

    wire.play = play
    with pytest.raises(BadRequest, match="no"):
        await client.post("/x", b"x" * SMALL_BODY)
