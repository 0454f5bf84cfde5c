"""Server-sent events of the three generating routes.

Thoughts and text go out while they are sampled (`policy_server.live` says what of them), calls when the reply is whole:
a stream always adds up to what the same request answers without `stream`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any

import msgspec
from aiohttp import web

from policy_server.requests import Delta


class Events:
    """One SSE reply. Headers go out with the first event, so an error before it is an ordinary error reply."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self.response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream; charset=utf-8", "Cache-Control": "no-cache"}
        )

    async def send(self, data: Mapping[str, Any], event: str = "") -> None:
        """Send one event."""
        await self._open()
        head = f"event: {event}\n".encode() if event else b""
        await self.response.write(head + b"data: " + msgspec.json.encode(data) + b"\n\n")

    async def close(self, done: bool = True) -> web.StreamResponse:
        """End the stream, with OpenAI's `[DONE]` unless the API has none."""
        await self._open()
        await self.response.write_eof(b"data: [DONE]\n\n" if done else b"")
        return self.response

    async def _open(self) -> None:
        if not self.response.prepared:
            await self.response.prepare(self._request)


class Deltas:
    """Deltas of a generation that runs beside whoever reads them. Use as a context: leaving it early cancels it."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Delta | None] = asyncio.Queue()
        self._task: asyncio.Task[Any] | None = None

    def put(self, delta: Delta) -> None:
        self._queue.put_nowait(delta)

    def run(self, work: Coroutine[Any, Any, Any]) -> Deltas:
        self._task = asyncio.create_task(work)
        self._task.add_done_callback(lambda _: self._queue.put_nowait(None))
        return self

    async def __aiter__(self) -> AsyncIterator[Delta]:
        while (delta := await self._queue.get()) is not None:
            yield delta

    async def result(self) -> Any:
        """What the work returned; raises what it raised."""
        assert self._task is not None
        return await self._task

    async def __aenter__(self) -> Deltas:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])
