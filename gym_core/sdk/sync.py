"""The client for ordinary programs and notebooks: the asynchronous one, on an event loop in a thread of its own.

One copy of what is sent, read and repeated; a notebook that runs a loop already is no obstacle.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from typing import Any, TypeVar, Unpack

from gym_core.sdk.aio import AsyncClient
from gym_core.sdk.calls import Options, Row
from gym_core.sdk.played import Played, PlayedGroup

T = TypeVar("T")


class Client:
    """One agent server; arguments and methods of `AsyncClient`. Use it as a context, or `close` it."""

    def __init__(self, agent_url: str, **options: Any) -> None:
        self._client = AsyncClient(agent_url, **options)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="palaestra-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connections and the thread. Idempotent."""
        if not self._thread.is_alive():
            return
        self._wait(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def environments(self) -> list[dict[str, Any]]:
        """Manifests of the environments that are served."""
        return self._wait(self._client.environments())

    def tasks(
        self, environment: str, *, seed: int = 0, level: int = 0, count: int = 1, split: str = "train", start: int = 0
    ) -> list[Row]:
        """`count` generated rows, the same ones for the same arguments."""
        return self._wait(
            self._client.tasks(environment, seed=seed, level=level, count=count, split=split, start=start)
        )

    def run(self, row: Row, **options: Unpack[Options]) -> Played:
        """Play one row. Returns for every outcome; raises only where the request itself failed."""
        return self._wait(self._client.run(row, **options))

    def rollouts(self, rows: Sequence[Row], **options: Unpack[Options]) -> Iterator[Played]:
        """Play rows, and yield each rollout as it finishes. Leaving the iteration takes the unfinished ones back."""
        return self._each(self._client.rollouts(rows, **options))

    def groups(self, rows: Iterable[Row], size: int, **options: Unpack[Options]) -> Iterator[PlayedGroup]:
        """Play each row `size` times, and yield each group when its last member has finished."""
        return self._each(self._client.groups(rows, size, **options))

    def rollout(self, rollout_id: str) -> Played:
        """A stored rollout. Raises `UnknownName`."""
        return self._wait(self._client.rollout(rollout_id))

    def cancel(self, run_id: str | None = None, rollout_ids: Iterable[str] = ()) -> int:
        """Take rollouts back; how many were under way."""
        return self._wait(self._client.cancel(run_id, rollout_ids))

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of `work`, done on the client's loop; an interrupt here ends it there."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _each(self, source: AsyncIterator[T]) -> Iterator[T]:
        try:
            while (item := self._wait(_next(source))) is not None:
                yield item
        finally:
            self._wait(_leave(source))


async def _next(source: AsyncIterator[T]) -> T | None:
    return await anext(source, None)


async def _leave(source: Any) -> None:
    await source.aclose()
