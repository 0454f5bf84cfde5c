"""The deterministic form over the real model: bit for bit the same, whatever else is in the batch."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.config import HybridConfig
from model.kernels.native import build as native_build
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


OTHERS = st.builds(
    lambda length, seed, temperature, more: ask(
        [20 + (seed * 31 + 7 * i) % 280 for i in range(length)],
        seed=seed, temperature=temperature, max_tokens=1 + seed % 15, **more,
    ),
    st.integers(1, 70),
    st.integers(0, 99),
    st.sampled_from([0.0, 0.7, 1.0]),
    st.sampled_from([{}, {"n": 3}, {"priority": -1}, {"top_p": 0.5}, {"routed_experts": True}]),
)  # fmt: skip


@pytest.mark.parametrize("compiled", [True, False])
@settings(max_examples=8, deadline=None)
@given(crowd=st.lists(OTHERS, max_size=8), place=st.integers(0, 8), probe=st.sampled_from(PROBES))
def test_no_company_changes_a_bit_compiled_or_not(
    tokenizer: Tokenizer, compiled: bool, crowd: list[GenerateRequest], place: int, probe: GenerateRequest
) -> None:
    config = PolicyConfig(num_slots=4, num_prefixes=2, max_length=256, prefill_tokens=24, deterministic=True)

    async def play() -> None:
        engine = embed(HybridModel(HybridConfig.tiny(tokenizer.vocab_size), seed=1), tokenizer, config).start()
        alone = await engine.generate(probe)
        order = [*crowd[:place], probe, *crowd[place:]]
        results = await asyncio.gather(*map(engine.generate, order))
        again = results[order.index(probe)]
        await engine.close()
        assert all(same(a, b) for a, b in zip(alone.samples, again.samples, strict=True))

    with patch.object(native_build, "wanted", lambda: compiled):
        asyncio.run(play())


async def test_it_says_what_the_batched_form_says_up_to_rounding(hybrid_engine: Engine, engine: Engine) -> None:
    for probe in PROBES[:2]:
        one, other = (await engine.generate(probe)).samples[0], (await hybrid_engine.generate(probe)).samples[0]
        assert one.logprobs[:4] == pytest.approx(other.logprobs[:4], abs=1e-4)
