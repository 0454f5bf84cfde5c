"""Server-sent events: what changed since it was told last, for as long as somebody looks.

event: runs | run | services      data: JSON, whenever it differs from what was sent before
event: trouble                    data: the error; the page says it and waits: the next look may succeed
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from aiohttp import web

from gym_core.errors import Busy, PalaestraError
from palaestra.dashboard.catalogue import Catalogue
from palaestra.dashboard.services import Services

EVERY_S = 1.0
KEEP_ALIVE_S = 15.0
MAX_STREAMS = 64


class Live:
    """The streams of one dashboard."""

    def __init__(self, catalogue: Catalogue, services: Services) -> None:
        self._catalogue = catalogue
        self._services = services
        self._stopped = asyncio.Event()
        self._streams = 0

    def stop(self) -> None:
        self._stopped.set()

    async def answer(self, request: web.Request, run: tuple[str, str] | None) -> web.StreamResponse:
        """Stream until the reader leaves or the server ends; `run` (store, run id) is what the reader looks at."""
        if self._streams >= MAX_STREAMS:
            raise Busy(f"{MAX_STREAMS} pages watch already", retry_after_s=10.0)
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await reply.prepare(request)
        self._streams += 1
        try:
            await self._tell(reply, run)
        except ConnectionResetError:  # the reader has left
            return reply
        finally:
            self._streams -= 1
        return reply

    async def _tell(self, reply: web.StreamResponse, run: tuple[str, str] | None) -> None:
        told: dict[str, bytes] = {}
        spoke = time.monotonic()
        while not self._stopped.is_set():
            for name, value in (await self._now(run)).items():
                data = msgspec.json.encode(value)
                if told.get(name) != data:
                    told[name] = data
                    spoke = time.monotonic()
                    await reply.write(b"event: %s\ndata: %s\n\n" % (name.encode(), data))
            if time.monotonic() - spoke > KEEP_ALIVE_S:
                spoke = time.monotonic()
                await reply.write(b": still here\n\n")
            try:
                await asyncio.wait_for(self._stopped.wait(), EVERY_S)
            except TimeoutError:
                continue

    async def _now(self, run: tuple[str, str] | None) -> dict[str, Any]:
        """What a reader should know, by event; `trouble` is null while there is none."""
        found: dict[str, Any] = {"trouble": None}
        urls: list[dict[str, str]] = []
        try:
            if run is None:
                found["runs"] = listed = await self._catalogue.runs()
                urls = [self._catalogue.services(one.store) for one in listed["runs"] if one.status == "running"][:4]
            else:
                found["run"] = shown = await self._catalogue.run(*run)
                urls = [shown["services"]] if shown["run"].status == "running" else []
        except PalaestraError as error:
            found["trouble"] = error.info()
        found["services"] = self._services.reports(one for named in urls for one in named.items())
        return found
