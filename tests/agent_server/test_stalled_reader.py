"""A reader that stops reading: its connection is cut, what ended is in the store, and it holds no room for others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fakes import FakePolicy, message

from gym_core.contracts import Outcome
from gym_core.errors import Busy
from gym_core.store import Store

ROW: dict[str, Any] = {"environment": "fake", "responses_create_params": {"input": "hi"}}
LARGE = "4" * (3 << 20)
PATIENCE_S = 60.0


def batch(name: str, count: int) -> bytes:
    return json.dumps({"rows": [{**ROW, "palaestra": {"rollout_id": f"{name}/{n}"}} for n in range(count)]}).encode()


def ask(url: str, body: bytes) -> socket.socket:
    """A connection that has asked for a batch and has room for next to nothing of the answer."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect((host, int(port)))
    reader.sendall(b"POST /rollouts HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    reader.setblocking(False)
    return reader


async def rest(reader: socket.socket) -> int:
    """How many bytes come until the server has hung up."""
    loop, num = asyncio.get_running_loop(), 0
    with contextlib.suppress(ConnectionResetError):
        while chunk := await asyncio.wait_for(loop.sock_recv(reader, 1 << 20), PATIENCE_S):
            num += len(chunk)
    return num


async def gauge(client: Any, name: str) -> float:
    lines = (await client.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def until(client: Any, name: str, value: float) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while await gauge(client, name) != value:
            await asyncio.sleep(0.02)


async def test_a_reader_that_stalls_is_cut_and_what_ended_is_kept(house: Any, tmp_path: Path) -> None:
    policy = FakePolicy([message(LARGE)])
    answer = policy._turn

    async def turn(request: web.Request) -> web.StreamResponse:
        if len(policy.requests) < 6:
            return await answer(request)
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    policy._turn = turn
    made = await house(policy, stall_s=0.3, max_running=1)
    reader = ask(made.url, batch("stalled", 8))
    try:
        async with asyncio.timeout(PATIENCE_S):
            await made.environment.all_closed.wait()
        for name in ("queued", "running", "storing", "untold"):
            await until(made.client, f"palaestra_rollouts_{name}", 0.0)
        assert await rest(reader) < 6 * len(LARGE)
    finally:
        reader.close()
    async with await Store.open(tmp_path / "store.db") as store:
        kept = {rollout.rollout_id: rollout.outcome async for rollout, _ in store.iter_rollouts(blobs=False)}
    assert len(kept) == 8  # a machine that stands still may have the reader cut before all six were played
    assert set(kept.values()) == {Outcome.SCORED, Outcome.CANCELLED}


async def test_what_a_slow_reader_leaves_lying_takes_room(house: Any) -> None:
    made = await house(FakePolicy([message(LARGE)]), max_queued=8)
    reader = ask(made.url, batch("slow", 8))
    try:
        async with asyncio.timeout(PATIENCE_S):
            while (waiting := await gauge(made.client, "palaestra_rollouts_untold")) == 0:
                await asyncio.sleep(0.02)
        made.client.retries = 0
        with pytest.raises(Busy, match="wait for their reader"):
            await made.client.post("/rollouts", batch("more", 8))
        assert waiting > 0
        assert await asyncio.wait_for(asyncio.to_thread(read_all, reader), PATIENCE_S) == 8
    finally:
        reader.close()
    await until(made.client, "palaestra_rollouts_untold", 0.0)


def read_all(reader: socket.socket) -> int:
    """How many rollouts the stream has told when it ends."""
    reader.setblocking(True)
    reader.settimeout(PATIENCE_S)
    said = bytearray()
    while not said.endswith(b"\r\n0\r\n\r\n"):
        said += reader.recv(1 << 20)
    return said.count(b'"outcome":"scored"')
