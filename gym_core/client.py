"""The way one process of ours talks to another: pooled, bounded in time, typed in failure, careful in repeating.

    reply = await client.post("/verify", row, timeout_s=30, idempotent=True)      # Response, or a PalaestraError
    async for head, blob in client.stream("/rollouts", rows): ...                 # frames as they arrive

A deadline covers everything: waiting for a connection, all attempts, the last byte of the body. Only requests that may
be repeated are: idempotent ones, and those whose connection was never made.
"""

from __future__ import annotations

import asyncio
import io
import os
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any, TypeVar

import aiohttp
import msgspec
from aiohttp import hdrs
from yarl import URL

from gym_core import headers as names
from gym_core import telemetry, tracing
from gym_core.auth import MASK
from gym_core.deadline import Deadline, reason
from gym_core.errors import BadRequest, DeadlineExceeded, PalaestraError, RemoteError, Unavailable
from gym_core.exchange import READ_BUFFER, SMALL_BODY, Exchange, Reply
from gym_core.http_reply import Response, error_of
from gym_core.parcel_client import Parcels
from gym_core.pool import Connector
from gym_core.tokens import FRAME_TYPE, FrameReader

LARGE_BODY = 1 << 20

T = TypeVar("T")

Token = str | Callable[[], str | None] | None
"""What is shown as bearer: a text, or who is asked for it before each request, as its file may change."""
Body = bytes | Callable[[], AsyncIterator[bytes]] | None

__all__ = ["Backoff", "Client", "Response"]

MAX_REPLY_BYTES = 1 << 30
"""A longer reply is refused rather than held in memory."""

MAX_UNPACKED_BYTES = 64 << 20
"""The same for one that came compressed although we ask for none to be: a small bomb must stay small."""

CONNECT_TIMEOUT_S = 5.0
"""A peer that does not accept a connection within this time is unavailable."""


class Backoff:
    """Exponential waits with full jitter: uniform in [0, base · 2^attempt], capped; never under Retry-After."""

    def __init__(
        self,
        base_s: float = 0.1,
        cap_s: float = 5.0,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = random.uniform,
    ) -> None:
        self.base_s = base_s
        self.cap_s = cap_s
        self.sleep = sleep
        self._uniform = uniform

    def wait_s(self, attempt: int, retry_after_s: float | None) -> float:
        """Seconds before attempt number `attempt` + 1 (the first try is attempt 0)."""
        drawn = self._uniform(0.0, min(self.cap_s, self.base_s * 2.0**attempt))
        return max(drawn, retry_after_s or 0.0)


class _NeverSent(Unavailable):
    """No connection was made, so nothing has happened at the other end."""


class Client:
    """One service at `base_url`. Made anywhere, used in one event loop; `close` it, or use it as a context.

    With `parcels`, requests that are made at the same moment travel together where the peer takes that.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: Token = None,
        timeout_s: float = 60.0,
        retries: int = 2,
        connection_limit: int = 256,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        backoff: Backoff | None = None,
        parcels: bool = False,
    ) -> None:
        if not base_url.startswith(("http://", "https://")):
            raise BadRequest(f"{base_url!r} is not an address", field="base_url", hint="use http://host:port")
        self.base_url = base_url.rstrip("/")
        self.timeout_s = timeout_s
        self.retries = retries
        self._token = token
        self._limit = connection_limit
        self._connect_timeout_s = connect_timeout_s
        self._backoff = backoff or Backoff()
        self._session: aiohttp.ClientSession | None = None
        self._exchange: Exchange | None = None
        self._parcels = Parcels(self.base_url, self._to_root()) if parcels else None
        tracing.configure()

    def __repr__(self) -> str:
        return f"Client({self.base_url!r})"

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Give the connections back. Idempotent; a later request opens new ones."""
        session, self._session = self._session, None
        if self._parcels is not None:
            await self._parcels.close()
        if session is not None:
            await session.close()

    def _to_root(self) -> Client:
        """The same peer, at the root of its server."""
        root = URL(self.base_url).origin()
        return Client(str(root), token=self._token, retries=0, connect_timeout_s=self._connect_timeout_s)

    async def get(
        self,
        path: str,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        retry: bool = True,
        check: bool = True,
    ) -> Response:
        """GET; always repeatable. Otherwise as `post`."""
        return await self.request(hdrs.METH_GET, path, None, headers, timeout_s, True, retry, check)

    async def post(
        self,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        idempotent: bool = False,
        retry: bool = True,
        check: bool = True,
    ) -> Response:
        """POST `body`: bytes as they are, a function that yields pieces of bytes (called for each attempt) as a
        stream, anything else as JSON.

        A status of 300 and above raises the `PalaestraError` it stands for; with `check=False` it is returned like any
        other reply. Raises `Unavailable` when nobody answers or the connection breaks, `DeadlineExceeded` when
        `timeout_s` (the client's by default) has passed, `RemoteError` for a reply that is not HTTP.
        """
        return await self.request(hdrs.METH_POST, path, body, headers, timeout_s, idempotent, retry, check)

    async def get_json(self, path: str, kind: type[T] | Any = Any, **options: Any) -> T:
        """The JSON that GET answers, as `kind`."""
        return (await self.get(path, **options)).json(kind)

    async def post_json(self, path: str, body: Any = None, kind: type[T] | Any = Any, **options: Any) -> T:
        """The JSON that POST answers, as `kind`."""
        return (await self.post(path, body, **options)).json(kind)

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        idempotent: bool = False,
        retry: bool = True,
        check: bool = True,
    ) -> Response:
        """One request with its repeats, all within `timeout_s`."""
        data, sent = self._prepare(body, headers, idempotent)
        repeatable = idempotent or names.IDEMPOTENCY in sent
        end = Deadline(self.timeout_s if timeout_s is None else timeout_s)
        with tracing.call(method, self.base_url, path, sent) as hop:
            response, error = await self._attempts(method, path, data, sent, end, repeatable, retry)
            if hop is not None:
                hop.answered(response.status if response else 0, error)
        if response is not None and (error is None or not check):
            return response
        assert error is not None
        raise error

    async def _attempts(
        self,
        method: str,
        path: str,
        data: Body,
        sent: dict[str, str],
        end: Deadline,
        repeatable: bool,
        retry: bool,
    ) -> tuple[Response | None, PalaestraError | None]:
        """The last reply, and the error that it or its absence stands for."""
        for attempt in range(self.retries + 1 if retry else 1):
            error: PalaestraError | None
            response = None
            try:
                response = await self._once(method, path, data, sent, end)
                error = response.error()
                again = repeatable and _worth_repeating(response)
            except Unavailable as failure:
                error = failure
                again = repeatable or isinstance(failure, _NeverSent)
            if not (again and retry and attempt < self.retries):
                break
            wait_s = self._backoff.wait_s(attempt, error.retry_after_s if error else None)
            if wait_s >= end.left_s():
                break  # the answer would come too late: say now what is wrong
            await self._backoff.sleep(wait_s)
        return response, error

    async def stream(
        self,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
        idle_s: float | None = None,
        method: str = hdrs.METH_POST,
    ) -> AsyncGenerator[tuple[bytes, bytes], None]:
        """(head, blob) of each frame of the reply, as it arrives. Never repeated.

        `timeout_s` bounds the whole stream, `idle_s` the time between two chunks. Raises as `post`; `Unavailable` when
        the stream ends inside a frame.
        """
        data, sent = self._prepare(body, {hdrs.ACCEPT: FRAME_TYPE, **(headers or {})}, False)
        end = Deadline(self.timeout_s if timeout_s is None else timeout_s)
        reader = FrameReader()
        with tracing.call(method, self.base_url, path, sent) as hop:
            response = await self._open(method, path, data, sent, end)
            try:
                if hop is not None:
                    hop.answered(response.status)
                if response.status >= 300:
                    failed = await self._read(response, end)
                    raise error_of(failed.status, failed.headers, _unquoted(failed.body, sent), failed.url)
                while chunk := await self._chunk(response, end, idle_s):
                    for frame in _frames(reader, chunk, str(response.url)):
                        yield frame
                try:
                    reader.close()
                except ValueError as error:
                    raise Unavailable(f"{response.url}: {error}") from None
            finally:
                response.close()

    async def events(
        self,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float | None = None,
    ) -> AsyncIterator[bytes]:
        """The `data:` of each server-sent event of the reply to POST, as it arrives. Never repeated; raises as `post`.

        One line an event, as OpenAI-compatible servers send them. `timeout_s` bounds the whole stream.
        """
        data, sent = self._prepare(body, headers, False)
        end = Deadline(self.timeout_s if timeout_s is None else timeout_s)
        response = await self._open(hdrs.METH_POST, path, data, sent, end)
        try:
            if response.status >= 300:
                failed = await self._read(response, end)
                raise error_of(failed.status, failed.headers, failed.body, failed.url)
            rest = b""
            while chunk := await self._chunk(response, end, None):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    if line.startswith(b"data:"):
                        yield line.removeprefix(b"data:").strip()
        finally:
            response.close()

    def _prepare(self, body: Any, headers: Mapping[str, str] | None, idempotent: bool) -> tuple[Body, dict[str, str]]:
        sent = {} if headers is None else dict(headers)
        data: Body
        if callable(body):
            data = body
            sent.setdefault(hdrs.CONTENT_TYPE, "application/octet-stream")
        elif body is None or isinstance(body, bytes | bytearray | memoryview):
            data = body if body is None or isinstance(body, bytes) else bytes(body)
        else:
            data = msgspec.json.encode(body)
            sent.setdefault(hdrs.CONTENT_TYPE, "application/json")
        if token := self._token() if callable(self._token) else self._token:
            sent.setdefault(hdrs.AUTHORIZATION, f"Bearer {token}")
        if trace := telemetry.trace_id.get():
            sent.setdefault(names.TRACE, trace)
        if idempotent and data is not None:
            sent.setdefault(names.IDEMPOTENCY, os.urandom(8).hex())
        return data, sent

    def _pool(self) -> aiohttp.ClientSession:
        if self._session is None or self._session.closed:
            self._session = aiohttp.ClientSession(
                connector=Connector(limit=self._limit, keepalive_timeout=30.0),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_timeout_s),
                headers={hdrs.ACCEPT_ENCODING: "identity"},
                read_bufsize=READ_BUFFER,
            )
            self._exchange = None
        return self._session

    async def _once(self, method: str, path: str, data: Body, sent: dict[str, str], end: Deadline) -> Response:
        if self._parcels is None or callable(data):
            return await self._alone(method, path, data, sent, end)
        alone = partial(self._alone, method, path, data, sent, end)
        try:
            reply = await self._parcels.ask(alone, method, path, sent, data or b"", end.left_s())
        except TimeoutError:
            raise end.over(self.base_url + path) from None
        if not reply.ok:
            reply.body = _unquoted(reply.body, sent)
        return reply

    async def _alone(self, method: str, path: str, data: Body, sent: dict[str, str], end: Deadline) -> Response:
        response = await self._open(method, path, data, sent, end)
        try:
            reply = await self._read(response, end)
            if not reply.ok:
                reply.body = _unquoted(reply.body, sent)
            return reply
        finally:
            response.release()

    async def _open(
        self, method: str, path: str, data: Body, sent: dict[str, str], end: Deadline
    ) -> aiohttp.ClientResponse | Reply:
        """Send, and read status and headers. Every way to fail becomes a typed error here."""
        url = self.base_url + path
        left_s = end.left_s()
        try:
            async with asyncio.timeout(left_s):
                session, sent = self._pool(), {**sent, names.DEADLINE: f"{left_s:.3f}"}
                if method == hdrs.METH_POST and isinstance(data, bytes) and len(data) <= SMALL_BODY:
                    if self._exchange is None:
                        self._exchange = Exchange(self.base_url, session)
                    return await self._exchange.post(url, data, sent)
                return await session.request(method, url, data=_stream(data), headers=sent, allow_redirects=False)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _NeverSent(f"nobody answers at {url}: {reason(error)}", hint="is the server running?") from None
        except aiohttp.InvalidURL:
            raise BadRequest(f"{url!r} is not an address", field="base_url") from None
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise end.explain(error, url) from None

    async def _read(self, response: aiohttp.ClientResponse | Reply, end: Deadline) -> Response:
        url = str(response.url)
        content = response.content
        if content.is_eof() and content.exception() is None and content.total_bytes <= MAX_UNPACKED_BYTES:
            return Response(response.status, response.headers, content.read_nowait(), url)  # it came with its head
        try:
            async with asyncio.timeout(end.left_s()):
                packed = hdrs.CONTENT_ENCODING in response.headers  # nobody asked for that: its length says nothing
                if not packed and response.content_length is not None and response.content_length <= MAX_REPLY_BYTES:
                    body = await response.read()
                else:
                    body = await _read_bounded(response, MAX_UNPACKED_BYTES if packed else MAX_REPLY_BYTES)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            response.close()
            raise end.explain(error, url) from None
        return Response(response.status, response.headers, body, url)

    async def _chunk(self, response: aiohttp.ClientResponse | Reply, end: Deadline, idle_s: float | None) -> bytes:
        left_s = end.left_s()
        try:
            async with asyncio.timeout(left_s if idle_s is None else min(left_s, idle_s)):
                return await response.content.readany()
        except TimeoutError:
            quiet = idle_s if idle_s is not None and idle_s < left_s else None
            if quiet is None:
                raise end.over(str(response.url)) from None
            raise DeadlineExceeded(f"{response.url} sent nothing for {quiet:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise end.explain(error, str(response.url)) from None


def _unquoted(body: bytes, sent: Mapping[str, str]) -> bytes:
    """The body of a refusal without the token that the request carried: endpoints are known to quote it."""
    token = sent.get(hdrs.AUTHORIZATION, "").partition(" ")[2]
    return body.replace(token.encode(), MASK.encode()) if token else body


async def _read_bounded(response: aiohttp.ClientResponse | Reply, most: int) -> bytes:
    body = bytearray()
    while chunk := await response.content.readany():
        body += chunk
        if len(body) > most:
            response.close()
            raise RemoteError(f"the reply of {response.url} is over {most} bytes")
    return bytes(body)


def _frames(reader: FrameReader, chunk: bytes, url: str) -> list[tuple[bytes, bytes]]:
    try:
        return list(reader.feed(chunk))
    except ValueError as error:
        raise RemoteError(f"{url} does not send frames: {error}") from None


def _stream(data: Body) -> bytes | io.BytesIO | AsyncIterator[bytes] | None:
    """Large bodies as a stream: aiohttp warns of bytes that hold up its loop while they are written at once."""
    if callable(data):
        return data()
    return io.BytesIO(data) if data is not None and len(data) >= LARGE_BODY else data


def _worth_repeating(response: Response) -> bool:
    """Whether a reply speaks of a passing trouble: busy, unavailable, or a failure that no server of ours explains."""
    if response.ok or names.TOOL in response.headers:
        return False
    error = response.error()
    return response.status in (429, 503) or (response.status >= 500 and type(error) is RemoteError)
