"""The connections of a client: aiohttp's pool, opened a few at a time and without work that nothing asked for."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

OPENING_AT_ONCE = 128


class Connector(aiohttp.TCPConnector):
    """Opens so many connections at a time: of thousands at once each would wait for all others, and time out."""

    def __init__(self, *, limit: int, keepalive_timeout: float) -> None:
        super().__init__(limit=limit, keepalive_timeout=keepalive_timeout)
        self._factory = cast("partial[ResponseHandler]", partial(_Protocol, loop=self._loop))
        self._opening = asyncio.Semaphore(OPENING_AT_ONCE)

    async def _create_connection(self, *args: Any, **options: Any) -> ResponseHandler:
        async with self._opening:
            return await super()._create_connection(*args, **options)


class _Protocol(ResponseHandler):
    def resume_reading(self, resume_parser: bool = True) -> None:
        """aiohttp asks for it after each piece that is read, and parses nothing once more, paused or not."""
        if self._reading_paused:
            super().resume_reading(resume_parser)
