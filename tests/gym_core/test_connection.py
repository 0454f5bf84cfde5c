"""Bytes that are no request: our error shape, no quotation, a closed connection."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest
from aiohttp import web

from gym_core import headers, serve
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


async def test_a_server_that_keeps_another_shape_keeps_it_here() -> None:
    def theirs(info: ErrorInfo, status: int) -> dict[str, Any]:
        return {"theirs": info.message, "status": status}

    async with await serve.start(serve.harden(web.Application(), "testing", error_body=theirs)) as served:
        _, _, body = await answered(served, BAD["a long header"][0])
    assert body == {"theirs": "the request line or a header is over 8190 bytes", "status": 400}
