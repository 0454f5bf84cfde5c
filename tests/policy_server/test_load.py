"""Many streams at once, clients that leave, and a mixed load that leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import resource
import threading
import time
from collections.abc import Callable
from typing import Any

import aiohttp
import pytest

from gym_core.errors import Busy, DeadlineExceeded, PalaestraError
from gym_core.serve import start
from model.tokenizer import Tokenizer
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.engine import Engine
from policy_server.grammar import Constraint
from policy_server.requests import GenerateRequest


async def stream(session: aiohttp.ClientSession, url: str, seed: int) -> tuple[str, str]:
    """(text, finish reason) of one streamed raw completion."""
    body = {"prompt": [40 + seed % 50, 41], "max_tokens": 8, "seed": seed, "stream": True, "ignore_eos": True}
    async with session.post(f"{url}/v1/completions", json=body) as reply:
        assert reply.status == 200, await reply.text()
        lines = [line for line in (await reply.text()).split("\n") if line]  # text may hold other separators
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(choice["text"] for choice in choices), choices[-1]["finish_reason"]


async def test_each_of_a_thousand_streams_arrives_whole(
    make_engine: Callable[..., Engine], tokenizer: Tokenizer
) -> None:
    count = 1000
    engine = make_engine(num_slots=64, num_prefixes=8)
    app = build_app(engine, tokenizer, PolicyConfig(max_length=128))
    connector = aiohttp.TCPConnector(limit=0)
    async with await start(app) as served, aiohttp.ClientSession(connector=connector) as session:
        got = await asyncio.gather(*(stream(session, served.url, seed) for seed in range(count)))
    for seed in range(0, count, 37):
        request = GenerateRequest(prompt_token_ids=[40 + seed % 50, 41], max_tokens=8, seed=seed, ignore_eos=True)
        sample = (await engine.generate(request)).samples[0]
        assert got[seed] == (tokenizer.decode(sample.token_ids.tolist(), skip_special=True), "length")
    assert engine.stats["free_slots"] == 64


async def test_a_full_server_answers_429_and_says_when_to_come_back(
    make_engine: Callable[..., Engine], tokenizer: Tokenizer
) -> None:
    engine = make_engine(num_slots=2, max_waiting=4, max_length=1024)
    app = build_app(engine, tokenizer, PolicyConfig(max_length=1024))
    body = {"prompt": "x", "max_tokens": 300, "ignore_eos": True}
    async with await start(app) as served, aiohttp.ClientSession() as session:

        async def post() -> tuple[int, str | None]:
            async with session.post(f"{served.url}/v1/completions", json=body) as reply:
                assert (await reply.json()).get("error", {"type": "rate_limit_error"})["type"] == "rate_limit_error"
                return reply.status, reply.headers.get("Retry-After")

        answers = await asyncio.gather(*(post() for _ in range(30)))
    assert set(answers) == {(200, None), (429, "1")}
    assert engine.stats["free_slots"] == 2


async def test_a_client_that_leaves_frees_its_slot_within_a_step(
    make_engine: Callable[..., Engine], tokenizer: Tokenizer, model: Any
) -> None:
    engine = make_engine(max_length=4096)
    app = build_app(engine, tokenizer, PolicyConfig(max_length=4096))
    body = {"prompt": "x", "max_tokens": 4000, "ignore_eos": True, "stream": True}
    held, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        if model.num_decodes == 5:
            held.set()
            assert let_go.wait(60)

    model.before_decode = hold
    async with await start(app) as served, aiohttp.ClientSession() as session:
        async with session.post(f"{served.url}/v1/completions", json=body) as reply:
            await reply.content.readline()
            assert await asyncio.to_thread(held.wait, 60)
            assert engine.stats["free_slots"] == 7
        reply.close()
        async with asyncio.timeout(60):
            while not engine._someone_left:
                await asyncio.sleep(0.001)
            let_go.set()
            while engine.stats["free_slots"] < 8:
                await asyncio.sleep(0.001)
    assert model.num_decodes == 6, "no step after the one that the client left in"


def mixed(rng: random.Random) -> GenerateRequest:
    """A request of any kind."""
    request = GenerateRequest(
        prompt_token_ids=[rng.randrange(20, 300) for _ in range(rng.randrange(1, 60))],
        max_tokens=rng.randrange(1, 40),
        n=rng.randrange(1, 4),
        priority=rng.randrange(-1, 2),
        seed=rng.randrange(1000),
        keep=rng.random() < 0.3,
        shared_tokens=rng.choice([0, 32]),
        stop=rng.choice([(), ("a",)]),
        num_top_logprobs=rng.choice([0, 0, 2]),
        deadline_s=rng.choice([None, None, 0.02]),
        thinking_budget=rng.choice([None, 4]),
        thinking_open=rng.random() < 0.5,
    )
    if rng.random() < 0.2:
        request.constraint = Constraint("regex", "[a-f]{3,9}", "regex")
    return request


async def wave(engine: Engine, rng: random.Random) -> None:
    """Forty requests, a few of which are taken back."""
    tasks = [asyncio.create_task(engine.generate(mixed(rng))) for _ in range(20)]
    await asyncio.sleep(0.01)  # the rest finds the slots taken, and some of it is more urgent
    tasks += [asyncio.create_task(engine.generate(mixed(rng))) for _ in range(20)]
    await asyncio.sleep(0)
    for task in rng.sample(tasks, 5):
        task.cancel()
    for result in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(result, PalaestraError):
            assert isinstance(result, DeadlineExceeded | Busy)
        elif isinstance(result, Exception):
            raise result
        elif not isinstance(result, BaseException):
            assert all(len(sample.token_ids) for sample in result.samples)


def resident_mb() -> float:
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


@pytest.mark.parametrize(
    "seconds",
    [3.0, pytest.param(float(os.environ.get("PALAESTRA_SOAK_S", "60")), marks=pytest.mark.slow)],
)
async def test_a_mixed_load_leaves_nothing_behind(make_engine: Callable[..., Engine], seconds: float) -> None:
    engine = make_engine(num_slots=8, num_prefixes=4, prefill_tokens=64)
    rng = random.Random(1)
    for _ in range(3):
        await wave(engine, rng)
    before, end = resident_mb(), time.monotonic() + seconds
    while time.monotonic() < end:
        await wave(engine, rng)
    stats = engine.stats
    assert (stats["free_slots"], stats["waiting"], stats["running"], stats["restarts"]) == (8, 0, 0, 0)
    assert not engine._live
    assert resident_mb() - before < 16
