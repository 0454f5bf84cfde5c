"""A service in a thread of its own: what it cannot build is its maker's error, and leaves no thread behind."""

from __future__ import annotations

import asyncio
import threading

import pytest
from aiohttp import web

from gym_core.client import Client
from gym_core.errors import BadRequest, Unavailable
from palaestra.hosted import AppHost


class FailingHost(AppHost):
    """Its thread has its name."""


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == FailingHost.__name__]


def refuse() -> web.Application:
    raise BadRequest("no checkpoint there", field="checkpoint")


def never_ready() -> web.Application:
    async def wait(_: web.Application) -> None:
        await asyncio.Event().wait()

    app = web.Application()
    app.on_startup.append(wait)
    return app


def test_what_cannot_be_built_is_the_makers_error_and_its_thread_ends() -> None:
    with pytest.raises(BadRequest, match="no checkpoint there"):
        FailingHost(refuse)
    with pytest.raises(Unavailable, match="FailingHost was not ready"):
        FailingHost(never_ready, ready_s=0.05)
    for thread in threads():
        thread.join(60)
    assert threads() == []


async def test_it_serves_until_it_is_closed() -> None:
    host = await asyncio.to_thread(FailingHost, web.Application)
    async with Client(host.url(), retries=0) as client:
        assert (await client.get("/healthz")).status == 200
        await asyncio.to_thread(host.close)
        with pytest.raises(Unavailable):
            await client.get("/healthz")
    assert threads() == []
