"""The deterministic form over the real model: bit for bit the same, whatever else is in the batch."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from model.stack import HybridModel
from model.tokenizer import Tokenizer
from policy_server.config import PolicyConfig
from policy_server.engine import Engine
from policy_server.launch import embed
from policy_server.requests import GenerateRequest, Sample


@pytest.fixture
async def engine(hybrid: HybridModel, tokenizer: Tokenizer) -> AsyncIterator[Engine]:
    config = PolicyConfig(num_slots=6, num_prefixes=4, max_length=256, prefill_tokens=24, deterministic=True)
    engine = embed(hybrid, tokenizer, config).start()
    yield engine
    await engine.close()


def ask(prompt: list[int], **fields: Any) -> GenerateRequest:
    return GenerateRequest(**{"prompt_token_ids": prompt, "max_tokens": 12, "ignore_eos": True, **fields})


def same(one: Sample, other: Sample) -> bool:
    return bool((one.token_ids == other.token_ids).all() and (one.logprobs == other.logprobs).all())


PROBES = [
    ask(list(range(30, 47)), seed=5),
    ask(list(range(30, 95)), temperature=0.0),
    ask(list(range(60, 90)), seed=7, temperature=0.6, top_p=0.8, n=2),
    ask(list(range(20, 60)), seed=8, shared_tokens=33, keep=True),
]


async def test_a_crowd_changes_no_bit(engine: Engine) -> None:
    alone = [await engine.generate(probe) for probe in PROBES]
    rng = random.Random(0)
    for trial in range(3):
        crowd = [
            ask([rng.randrange(20, 300) for _ in range(rng.randrange(1, 80))], seed=i, priority=rng.randrange(-1, 2))
            for i in range(rng.randrange(2, 9))
        ]
        crowd += [ask(list(range(20, 60 + trial)), known_tokens=40, shared_tokens=33, keep=True)]
        order = [*crowd, *PROBES]
        rng.shuffle(order)
        results = await asyncio.gather(*map(engine.generate, order))
        for probe, before in zip(PROBES, alone, strict=True):
            after = results[next(i for i, request in enumerate(order) if request is probe)]
            assert all(same(a, b) for a, b in zip(after.samples, before.samples, strict=True))
    assert engine.stats["preempted"] >= 0


async def test_it_says_what_the_batched_form_says_up_to_rounding(hybrid_engine: Engine, engine: Engine) -> None:
    for probe in PROBES[:2]:
        one, other = (await engine.generate(probe)).samples[0], (await hybrid_engine.generate(probe)).samples[0]
        assert one.logprobs[:4] == pytest.approx(other.logprobs[:4], abs=1e-4)
