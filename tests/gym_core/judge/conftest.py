"""A judge on loopback that says what the test tells it to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from aiohttp import web

from gym_core.client import Backoff
from gym_core.judge.client import JudgeClient
from gym_core.judge.config import JudgeConfig
from gym_core.judge.metrics import JudgeMetrics
from gym_core.serve import start
from gym_core.telemetry import Metrics


class FakeJudge:
    """Answers request n with the n-th of `says`, the last one for ever: a text, a status, or a function of the body."""

    def __init__(self, *says: Any) -> None:
        self.says = says
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.url = ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        return app

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][-1]["content"] for body in self.asked]

    async def _complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        say = self.says[min(len(self.asked), len(self.says) - 1)]
        self.asked.append(body)
        self.keys.append(request.headers.get("Authorization", ""))
        if callable(say):
            say = say(body)
            if isinstance(say, Awaitable):
                say = await say
        if isinstance(say, int):
            return web.json_response({"error": {"message": "not now"}}, status=say, headers={"Retry-After": "0"})
        choice = {"index": 0, "message": {"role": "assistant", "content": say}, "finish_reason": "stop"}
        return web.json_response({"choices": [choice], "usage": {"prompt_tokens": 100, "completion_tokens": 10}})


class Bench:
    """A judge client, the judge behind it, and the metrics of both."""

    def __init__(self, fake: FakeJudge, client: JudgeClient, metrics: Metrics) -> None:
        self.fake = fake
        self.client = client
        self.metrics = metrics

    def metric(self, line: str) -> float:
        """The value of a metrics line that begins like this; 0.0 where there is none."""
        values = [text.rsplit(" ", 1)[1] for text in self.metrics.text().decode().splitlines() if text.startswith(line)]
        return float(values[0]) if values else 0.0


@pytest.fixture
async def bench() -> AsyncIterator[Callable[..., Awaitable[Bench]]]:
    async with AsyncExitStack() as stack:

        async def build(*says: Any, **config: Any) -> Bench:
            fake = FakeJudge(*says)
            served = await stack.enter_async_context(await start(fake.app()))
            fake.url = served.url
            metrics = Metrics("test")
            settings = JudgeConfig(**{"base_url": served.url, "model": "m", **config})
            client = JudgeClient(settings, JudgeMetrics(metrics), Backoff(base_s=0.0))
            await stack.enter_async_context(client)
            return Bench(fake, client, metrics)

        yield build
