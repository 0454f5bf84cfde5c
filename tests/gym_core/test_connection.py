"""Bytes that are no request: our error shape, no quotation, a closed connection; and readers that take nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from gym_core import headers, serve
from gym_core.connection import LEAST_BYTES, _Connection
from gym_core.errors import ErrorInfo

HEAD = b"GET /healthz HTTP/1.1\r\nHost: a\r\n"

BAD = {
    "a long header": (HEAD + b"X-Long: " + b"a" * 9000 + b"\r\n\r\n", "a header is over 8190 bytes"),
    "a long address": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "over 8190 bytes"),
    "many headers": (HEAD + b"".join(b"X%d: 1\r\n" % n for n in range(200)) + b"\r\n", "Too many headers"),
    "two lengths": (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n", "no HTTP request: "),
    "another protocol": (b"\x16\x03\x01 hello\r\n\r\n", "no HTTP request: "),
    "a token that is too long": (HEAD + b"Authorization: Bearer s3cret" + b"a" * 9000 + b"\r\n\r\n", "over 8190 bytes"),
    "a header that is none": (HEAD + b"Authorization: Bearer s3cret\x00\r\n\r\n", "no HTTP request: "),
}  # fmt: skip


async def answered(served: serve.Served, sent: bytes) -> tuple[int, dict[str, str], Any]:
    """Status, headers and body of the reply after which the connection was closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    writer.write(sent)
    async with asyncio.timeout(20):
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    first, *lines = head.decode().split("\r\n")
    return int(first.split()[1]), dict(line.split(": ", 1) for line in lines), json.loads(body)


@pytest.mark.parametrize("what", BAD)
async def test_what_is_no_request_is_refused_in_our_shape(what: str, caplog: pytest.LogCaptureFixture) -> None:
    sent, said = BAD[what]
    app = serve.harden(web.Application(), "testing")
    with caplog.at_level(logging.DEBUG):
        async with await serve.start(app) as served:
            status, about, body = await answered(served, sent)
    error = body["error"]
    assert (status, error["code"], error["server"]) == (400, "bad_request", "testing")
    assert said in error["message"]
    assert about[headers.TRACE] == error["trace_id"] != ""
    assert "s3cret" not in str(body) + caplog.text
    assert "Traceback" not in caplog.text
    assert b'method="any",route="unmatched",status="400"} 1.0' in app[serve.DOOR].metrics.text()


async def test_an_expectation_that_is_none_of_https_is_refused_in_our_shape() -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    app = web.Application()
    app.router.add_post("/echo", echo)
    serve.harden(app, "testing")
    body = b"Content-Length: 2\r\nConnection: close\r\n\r\nhi"
    async with await serve.start(app) as served:
        for path in (b"/echo", b"/nowhere"):
            head = b"POST %s HTTP/1.1\r\nHost: a\r\nX-Palaestra-Trace: t1\r\nExpect: pizza\r\n" % path
            status, about, said = await answered(served, head + body)
            assert (status, said["error"]["code"], said["error"]["server"]) == (417, "bad_request", "testing")
            assert about[headers.TRACE] == said["error"]["trace_id"] == "t1"
    assert b'route="unmatched",status="417"} 2.0' in app[serve.DOOR].metrics.text()


async def test_a_body_that_says_it_is_too_large_is_not_waited_for() -> None:
    async def never(_: web.Request) -> web.Response:
        raise AssertionError("unreachable")

    app = web.Application()
    app.router.add_post("/never", never)
    head = b"POST /never HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    async with await serve.start(serve.harden(app, "testing", max_body_bytes=1000)) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(head % 10**15)
        async with asyncio.timeout(20):
            said = await reader.readuntil(b"}}")
        writer.close()
    assert said.startswith(b"HTTP/1.1 413 ") and b"too_large" in said


async def test_a_server_that_keeps_another_shape_keeps_it_here() -> None:
    def theirs(info: ErrorInfo, status: int) -> dict[str, Any]:
        return {"theirs": info.message, "status": status}

    async with await serve.start(serve.harden(web.Application(), "testing", error_body=theirs)) as served:
        _, _, body = await answered(served, BAD["a long header"][0])
    assert body == {"theirs": "the request line or a header is over 8190 bytes", "status": 400}


def dawdler(port: int, path: str) -> socket.socket:
    """A caller that has asked and takes nothing of the answer."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.connect(("127.0.0.1", port))
    caller.sendall(b"GET %s HTTP/1.1\r\nHost: a\r\n\r\n" % path.encode())
    return caller


@pytest.mark.parametrize("path", ["/whole", "/streamed", "/flushed"])
async def test_who_takes_nothing_of_a_reply_is_cut(path: str) -> None:
    left = asyncio.Event()

    async def whole(_: web.Request) -> web.Response:
        return web.Response(body=bytes(64 << 20))

    async def streamed(request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        try:
            while True:
                await reply.write(bytes(1 << 20))
        finally:
            left.set()

    async def flushed(request: web.Request) -> web.StreamResponse:
        """What is written past every drain, and then the connection is closed."""
        reply = web.StreamResponse()
        await reply.prepare(request)
        assert request.transport is not None
        request.transport.set_write_buffer_limits(1 << 30)
        request.transport.write(bytes(64 << 20))
        reply.force_close()
        return reply

    app = web.Application()
    for handler in (whole, streamed, flushed):
        app.router.add_get(f"/{handler.__name__}", handler)
    async with await serve.start(serve.harden(app, "testing", stall_s=0.2)) as served:
        caller = dawdler(served.port, path)
        async with asyncio.timeout(60):
            while served._runner.server.connections:  # type: ignore[union-attr]
                await asyncio.sleep(0.02)
            if path == "/streamed":
                await left.wait()
            while _unsent(served.port, caller):
                await asyncio.sleep(0.02)
        caller.close()


def _unsent(port: int, caller: socket.socket) -> bool:
    """Whether the server still holds its end of this connection."""
    own, other = (f"{number:04X}" for number in (port, caller.getsockname()[1]))
    with open("/proc/net/tcp") as table:
        rows = [line.split()[1:4] for line in table.readlines()[1:]]
    return any(ours.endswith(own) and theirs.endswith(other) and state in ("01", "04") for ours, theirs, state in rows)


@pytest.mark.parametrize(
    ("before", "left", "cut"),
    [
        (10 << 20, 10 << 20, True),
        (10 << 20, (10 << 20) - LEAST_BYTES + 1, True),
        (10 << 20, (10 << 20) - LEAST_BYTES, False),
        (40_000, 39_000, True),
        (40_000, 20_000, False),
    ],
)
async def test_who_is_slow_and_goes_on_is_not_cut(before: int, left: int, cut: bool) -> None:
    aborted: list[bool] = []
    async with await serve.start(app := serve.harden(web.Application(), "testing", stall_s=1000.0)) as served:
        connection = _Connection(app[serve.DOOR], served._runner.server, loop=asyncio.get_running_loop())  # type: ignore[arg-type]
        size = SimpleNamespace(get_write_buffer_size=lambda: left, abort=lambda: aborted.append(True))
        size.get_extra_info = lambda name: None
        connection.transport = size  # type: ignore[assignment]
        connection._look(before)
        watched = connection._stalled is not None
        connection._unwatch()
    assert (aborted == [True], watched) == (cut, not cut)


async def test_a_connection_that_is_accepted_while_the_server_ends_is_cut() -> None:
    async with await serve.start(serve.harden(web.Application(), "testing"), grace_s=0.1) as served:
        ending = served._runner.server
        assert ending is not None
        await ending.shutdown(0.1)
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(HEAD + b"\r\n")
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
        writer.close()
