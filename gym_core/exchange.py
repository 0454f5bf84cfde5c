"""One request to a peer and its reply, on aiohttp's own connections, parser and writer, but without its session.

    head and body in one write ─▶ pooled connection ─▶ status, headers ─▶ body, read by whoever wants it

A session builds an address, a request, a task that writes and a response for each call: more than half of what a hop
costs who sends it. Here the peer is fixed, so what can be known of it is known beforehand. Pool, limits, name look-up,
TLS, header checks and parsing stay aiohttp's; deadlines and typed errors are the client's (`gym_core/client.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import cast

import aiohttp
from aiohttp import hdrs
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.connector import Connection
from aiohttp.http import SERVER_SOFTWARE, HttpProcessingError, StreamWriter
from aiohttp.streams import StreamReader
from multidict import CIMultiDict
from yarl import URL

READ_BUFFER = 1 << 18
SMALL_BODY = 1 << 16
"""A longer body is written piece by piece while the reply may already come: that is a session's work."""

_OF_THE_PEER = (hdrs.HOST, hdrs.AUTHORIZATION)
"""Headers that follow from the address, the second where it has a name and a password."""


class Reply:
    """A reply whose head has come; the body is in `content`, or on its way there. To be released or closed."""

    __slots__ = ("_connection", "content", "headers", "status", "url")

    def __init__(
        self, status: int, headers: Mapping[str, str], content: StreamReader, url: str, connection: Connection
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.url = url
        self._connection = connection

    @property
    def content_length(self) -> int | None:
        given = self.headers.get(hdrs.CONTENT_LENGTH)
        return None if given is None else int(given)  # the parser let only digits pass

    async def read(self) -> bytes:
        """The whole body."""
        return await self.content.read()

    def close(self) -> None:
        """Cut the connection, unless the whole body has come over it: then it is good for the next request."""
        if self.content.is_eof():
            self._connection.release()
        else:
            self._connection.close()

    def release(self) -> None:
        """Give the connection back; one on which the body is still under way is cut."""
        self._connection.release()


class _Target(aiohttp.ClientRequest):
    """What a connector has to know of the peer; never sent itself."""

    @cached_property
    def connection_key(self) -> ConnectionKey:
        return super().connection_key


class Exchange:
    """Small POST requests to one peer over a session's connections."""

    def __init__(self, base_url: str, session: aiohttp.ClientSession) -> None:
        """Raises `aiohttp.InvalidURL` for what is no address."""
        connector = session.connector
        assert connector is not None
        self._connector = connector
        self._timeout = session.timeout
        self._loop = asyncio.get_running_loop()
        try:
            peer = URL(base_url)
        except ValueError:
            raise aiohttp.InvalidURL(base_url) from None
        self._target = _Target(hdrs.METH_POST, peer, loop=self._loop, session=session)
        known: dict[str, str] = {
            name: self._target.headers[name] for name in _OF_THE_PEER if name in self._target.headers
        }
        self._fixed = {**known, hdrs.USER_AGENT: SERVER_SOFTWARE, **session.headers}

    async def post(self, url: str, data: bytes, headers: Mapping[str, str]) -> Reply:
        """Send, and read status and headers. Raises what aiohttp raises for what goes wrong on the way."""
        line = f"POST {_target(url)} HTTP/1.1"
        connection = await self._connect()
        try:
            protocol = connection.protocol
            assert protocol is not None
            protocol.set_response_params(read_until_eof=True, auto_decompress=True, read_bufsize=READ_BUFFER)
            writer = StreamWriter(protocol, self._loop)
            sent = {**self._fixed, **headers, hdrs.CONTENT_LENGTH: str(len(data))}
            await writer.write_headers(line, cast("CIMultiDict[str]", sent))
            await writer.write_eof(data)
            message, content = await protocol.read()
            while 100 <= message.code < 200 and message.code != 101:
                message, content = await protocol.read()
        except HttpProcessingError as error:
            connection.close()
            raise aiohttp.ClientResponseError(
                self._target.request_info, (), status=error.code, message=error.message, headers=error.headers
            ) from error
        except BaseException:
            connection.close()
            raise
        return Reply(message.code, message.headers, content, url, connection)

    async def _connect(self) -> Connection:
        try:
            return await self._connector.connect(self._target, [], self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host {self._target.url}") from error


@lru_cache(maxsize=1024)
def _target(url: str) -> str:
    """The path and query of an address as they are sent."""
    try:
        return URL(url).raw_path_qs
    except ValueError:
        raise aiohttp.InvalidURL(url) from None
