"""The client for asynchronous programs."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar, Unpack

import httpx

from gym_core.client import Backoff
from gym_core.errors import Unavailable
from gym_core.http_reply import error_of
from gym_core.sdk import calls
from gym_core.sdk.calls import Attempts, Call, Options, Row
from gym_core.sdk.played import Gathering, Played, PlayedGroup, open_frame
from gym_core.tokens import FrameReader

T = TypeVar("T")


class AsyncClient:
    """One agent server. Use it as a context, or `close` it.

    `timeout_s` bounds calls that wait for no rollout; those that do wait for its `deadline_s` and a minute more.
    `transport` replaces the network (tests).
    """

    def __init__(
        self,
        agent_url: str,
        *,
        token: str | None = None,
        timeout_s: float = 60.0,
        retries: int = 3,
        backoff: Backoff | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._timeout_s = timeout_s
        self._retries = retries
        self._backoff = backoff or Backoff()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
        self._http = httpx.AsyncClient(
            base_url=calls.checked_url(agent_url), headers=calls.headers_of(token), transport=transport, limits=limits
        )

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        await self._http.aclose()

    async def environments(self) -> list[dict[str, Any]]:
        """Manifests of the environments that are served."""
        return await self._send(calls.environments_call(self._timeout_s))

    async def tasks(
        self, environment: str, *, seed: int = 0, level: int = 0, count: int = 1, split: str = "train", start: int = 0
    ) -> list[Row]:
        """`count` generated rows, the same ones for the same arguments."""
        asked = {"seed": seed, "level": level, "count": count, "split": split, "start": start}
        return await self._send(calls.tasks_call(environment, asked, self._timeout_s))

    async def run(self, row: Row, **options: Unpack[Options]) -> Played:
        """Play one row. Returns for every outcome; raises only where the request itself failed."""
        return await self._send(calls.run_call(row, options))

    async def rollouts(self, rows: Sequence[Row], **options: Unpack[Options]) -> AsyncGenerator[Played, None]:
        """Play rows, and yield each rollout as it finishes. Leaving the iteration takes the unfinished ones back.

        Raises `Unavailable` where the stream breaks off; what was yielded is stored, and asking again for its id tells
        it again.
        """
        async with aclosing(self._stream([calls.with_options(row, options) for row in rows])) as stream:
            async for played in stream:
                yield played

    async def groups(
        self, rows: Iterable[Row], size: int, **options: Unpack[Options]
    ) -> AsyncGenerator[PlayedGroup, None]:
        """Play each row `size` times, and yield each group when its last member has finished."""
        gathering = Gathering()
        async with aclosing(self._stream(calls.members(rows, size, options))) as stream:
            async for played in stream:
                if group := gathering.add(played):
                    yield group

    async def rollout(self, rollout_id: str) -> Played:
        """A stored rollout. Raises `UnknownName`."""
        return await self._send(calls.rollout_call(rollout_id, self._timeout_s))

    async def cancel(self, run_id: str | None = None, rollout_ids: Iterable[str] = ()) -> int:
        """Take rollouts back; how many were under way."""
        return await self._send(calls.cancel_call(run_id, rollout_ids, self._timeout_s))

    async def _send(self, call: Call[T]) -> T:
        attempts = Attempts(self._retries, self._backoff, call.repeatable)
        request = call.request(self._http)
        while True:
            try:
                reply = calls.whole(await self._http.send(request))
            except httpx.HTTPError as failure:
                wait_s = attempts.wait_s(*calls.translated(failure, request.url))
            else:
                error = reply.error()
                if error is None:
                    return call.read(reply)
                wait_s = attempts.wait_s(error, True)
            await self._backoff.sleep(wait_s)

    async def _stream(self, rows: Sequence[Row]) -> AsyncGenerator[Played, None]:
        reply = await self._open(calls.rollouts_call(rows))
        reader = FrameReader()
        try:
            async for chunk in reply.aiter_bytes():
                for head, blob in reader.feed(chunk):
                    yield open_frame(head, blob)
            reader.close()
        except httpx.HTTPError as failure:
            raise calls.translated(failure, reply.url)[0] from None
        except ValueError as error:
            raise Unavailable(f"the stream of {reply.url} broke off: {error}") from None
        finally:
            await reply.aclose()

    async def _open(self, call: Call[None]) -> httpx.Response:
        attempts = Attempts(self._retries, self._backoff, call.repeatable)
        request = call.request(self._http)
        while True:
            try:
                reply = await self._http.send(request, stream=True)
                if reply.status_code < 300:
                    return reply
                body = await reply.aread()
                await reply.aclose()
            except httpx.HTTPError as failure:
                wait_s = attempts.wait_s(*calls.translated(failure, request.url))
            else:
                error = error_of(reply.status_code, reply.headers, body, str(reply.url))
                wait_s = attempts.wait_s(error, True)
            await self._backoff.sleep(wait_s)
