"""An environment whose answers fail, break off and lie, which way following from the rollout's id; and a house around
it in which every server is killed now and then, and callers leave."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web
from faulty import hangs, hangs_up, says

from gym_core.client import Client
from gym_core.contracts import Rollout
from gym_core.errors import PalaestraError
from gym_core.serve import Served, start
from palaestra.processes import ServiceProcess, start_service

JSON = "application/json"
Reply = Callable[[web.Request], Any]


def verdict(text: bytes) -> Reply:
    return says(text, content_type=JSON)


async def breaks_off(request: web.Request) -> web.StreamResponse:
    """A whole verdict of 1.0, announced as longer than it is: what has come must not be taken for what was meant."""
    reply = web.StreamResponse(headers={"Content-Length": "400", "Content-Type": JSON})
    await reply.prepare(request)
    await reply.write(b'{"verdict": {"reward": 1.0}}')
    assert request.transport is not None
    request.transport.close()
    return reply


FAULTS: dict[str, Reply] = {
    "hangs": hangs,
    "hangs up": hangs_up,
    "breaks off": breaks_off,
    "500": says(b"Internal Server Error", 500, "text/plain"),
    "500 with a reward": says(b'{"verdict": {"reward": 1.0}}', 500, JSON),
    "503": says(b"", 503),
    "moved": says(b"", 302, Location="/elsewhere"),
    "html": says(b"<html>1.0</html>", content_type="text/html"),
    "empty": says(b"", content_type=JSON),
    "cut": verdict(b'{"verdict": {"reward": 1.'),
    "no verdict": verdict(b"{}"),
    "no reward": verdict(b'{"verdict": {"components": {"exact": 1.0}}}'),
    "reward in words": verdict(b'{"verdict": {"reward": "1.0"}}'),
    "reward that is no number": verdict(b'{"verdict": {"reward": NaN}}'),
    "reward without end": verdict(b'{"verdict": {"reward": 1e999}}'),
    "reward beside the verdict": verdict(b'{"reward": 1.0}'),
    "a list": verdict(b'[{"verdict": {"reward": 1.0}}]'),
}


class FaultyEnvironment:
    """Answers with the truth about a rollout, or with a fault: both drawn from its id."""

    manifest: dict[str, Any] = {  # noqa: RUF012
        "name": "fake",
        "version": "1",
        "keeps_sessions": False,
        "max_steps": 4,
        "tools": [{"name": "add"}],
    }

    def __init__(self, share_of_faults: float) -> None:
        self.share_of_faults = share_of_faults

    def fault_of(self, rollout_id: str) -> str:
        draw = random.Random(f"environment {rollout_id}")
        return draw.choice(sorted(FAULTS)) if draw.random() < self.share_of_faults else ""

    @staticmethod
    def truth(rollout_id: str) -> float:
        """The reward that this rollout has, and no other one."""
        return random.Random(f"truth {rollout_id}").randrange(1, 1000) / 1024

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/manifest", self._manifest)
        app.router.add_post("/verify", self._verify)
        app.router.add_post("/add", says(b"3", content_type="text/plain", **{"X-Palaestra-Tool": "ok"}))
        return app

    async def _manifest(self, _: web.Request) -> web.Response:
        return web.json_response(self.manifest)

    async def _verify(self, request: web.Request) -> web.StreamResponse:
        rollout_id = (await request.json())["palaestra"]["rollout_id"]
        fault = self.fault_of(rollout_id)
        if fault:
            reply: web.StreamResponse = await FAULTS[fault](request)
            return reply
        return web.json_response({"verdict": {"reward": self.truth(rollout_id)}})


class Mortal:
    """A server that can be taken away and put back at the same address."""

    def __init__(self, make: Callable[[], web.Application]) -> None:
        self._make = make
        self._served: Served | None = None
        self._port = 0

    async def live(self) -> str:
        if self._served is None:
            self._served = await start(self._make(), port=self._port, grace_s=0.1)
            self._port = self._served.port
        return self._served.url

    async def die(self) -> None:
        served, self._served = self._served, None
        if served is not None:
            await served.close()


class Agent:
    """The agent server as a process, killed and started again over the same store."""

    def __init__(self, arguments: list[str], folder: Any) -> None:
        self._arguments, self._folder = arguments, folder
        self.deaths = 0
        self._process: ServiceProcess | None = None

    async def url(self) -> str:
        if self._process is None:
            arguments = [*self._arguments, "--parent-pid", str(os.getpid())]
            self._process = await start_service(f"agent-{self.deaths}", arguments, self._folder)
        return self._process.url

    async def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            self.deaths += 1
            os.kill(process.process.pid, signal.SIGKILL)
            await process.process.wait()

    async def take_back(self, rollout_ids: list[str]) -> int:
        async with Client(await self.url(), retries=0) as client:
            told: dict[str, int] = await client.post_json("/cancel", {"rollout_ids": rollout_ids})
        return told["cancelled"]

    async def stop(self) -> None:
        if self._process is not None:
            await self._process.stop()


class HangUp(Exception):
    """Raised by who listens to a stream: the caller leaves it."""


async def ask_until_told(
    agent: Agent, rows: list[dict[str, Any]], on_rollout: Callable[[Rollout, int], Any]
) -> dict[str, list[tuple[Rollout, bytes]]]:
    """Everything that was told of these rows, by id: a stream that breaks, or is left, is asked again for all."""
    told: dict[str, list[tuple[Rollout, bytes]]] = {row["palaestra"]["rollout_id"]: [] for row in rows}
    while not all(told.values()):
        count = 0
        try:
            async with (
                Client(await agent.url(), retries=0) as client,
                contextlib.aclosing(client.stream("/rollouts", {"rows": rows}, timeout_s=300)) as frames,
            ):
                async for head, blob in frames:
                    rollout = msgspec.json.decode(head, type=Rollout)
                    told[rollout.rollout_id].append((rollout, blob))
                    count += 1
                    await on_rollout(rollout, count)
        except HangUp:
            continue
        except PalaestraError:
            await asyncio.sleep(0.05)  # the environment may be away as well: then the door says so
    return told
