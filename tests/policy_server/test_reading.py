"""Long prompts in pieces: who waits, who goes on, and that the pieces add up."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gym_core.errors import DeadlineExceeded
from policy_server.engine import Engine
from policy_server.requests import Delta, GenerateRequest, GenerateResult


def ask(prompt: list[int], **fields: Any) -> GenerateRequest:
    return GenerateRequest(**{"prompt_token_ids": prompt, "max_tokens": 6, "ignore_eos": True, "seed": 3, **fields})


def ids(result: GenerateResult) -> list[list[int]]:
    return [sample.token_ids.tolist() for sample in result.samples]


def prompt_of(length: int, first: int = 30) -> list[int]:
    return [first + i % 200 for i in range(length)]


@pytest.mark.parametrize("most", [1, 7, 40, 100, 1000])
async def test_pieces_give_the_tokens_of_the_whole(make_engine: Callable[..., Engine], most: int) -> None:
    whole, pieces = make_engine(), make_engine(prefill_tokens=most, num_prefixes=3)
    requests = [ask(prompt_of(n), n=1 + n % 3, shared_tokens=32 if n > 40 else 0) for n in (100, 1, 41, 100, 60)]
    want = await asyncio.gather(*map(whole.generate, requests))
    got = await asyncio.gather(*map(pieces.generate, requests))
    assert [ids(result) for result in got] == [ids(result) for result in want]


async def test_no_step_reads_more_than_its_share(make_engine: Callable[..., Engine], model: Any) -> None:
    engine = make_engine(prefill_tokens=16)
    await asyncio.gather(*(engine.generate(ask(prompt_of(n, first=30 + n))) for n in (50, 3, 20)))
    assert max(map(sum, model.prefills)) <= 16
    assert sum(map(sum, model.prefills)) == 73


async def test_running_samples_go_on_while_a_long_prompt_is_read(
    make_engine: Callable[..., Engine], model: Any
) -> None:
    engine = make_engine(prefill_tokens=10, max_length=1024)
    reads_at: list[int] = []
    decoded = asyncio.Event()

    def told(_: Delta) -> None:
        reads_at.append(engine.stats["prefilled_tokens"])
        decoded.set()

    short = asyncio.create_task(engine.generate(ask([40, 41], max_tokens=60, on_delta=told)))
    await decoded.wait()
    long = asyncio.create_task(engine.generate(ask(prompt_of(400))))
    await asyncio.gather(short, long)
    steps = np.diff([read for read in reads_at if read < 402])
    assert len(steps) > 10  # tokens came between the pieces, not after them
    assert max(map(sum, model.prefills)) <= 10


async def test_the_same_prompt_asked_while_it_is_read_is_read_once(
    make_engine: Callable[..., Engine], model: Any
) -> None:
    engine = make_engine(prefill_tokens=10)
    go = threading.Event()
    held = asyncio.create_task(engine.exchange(lambda: go.wait(60), version=1))
    asked = [asyncio.create_task(engine.generate(ask(prompt_of(90)))) for _ in range(4)]
    for _ in range(4):
        await asyncio.sleep(0)  # all have asked before the engine looks
    go.set()
    results = await asyncio.gather(*asked)
    await held
    assert sum(map(sum, model.prefills)) == 90
    assert len({str(ids(result)) for result in results}) == 1


async def test_who_leaves_while_reading_takes_nothing_from_the_others(make_engine: Callable[..., Engine]) -> None:
    alone = ids(await make_engine(max_length=1024).generate(ask(prompt_of(1000))))
    engine = make_engine(prefill_tokens=1, max_length=1024)
    late = asyncio.create_task(engine.generate(ask(prompt_of(1000), deadline_s=0.005)))
    mate = asyncio.create_task(engine.generate(ask(prompt_of(1000))))
    with pytest.raises(DeadlineExceeded):
        await late
    assert ids(await mate) == alone
    assert engine.stats["free_slots"] == 8


async def test_new_weights_while_reading_start_the_prompt_again(make_engine: Callable[..., Engine], model: Any) -> None:
    engine = make_engine(prefill_tokens=2, max_length=1024)
    task = asyncio.create_task(engine.generate(ask(prompt_of(900))))
    while engine.stats["prefilled_tokens"] < 20:
        await asyncio.sleep(0)

    def load() -> None:
        model.embed.copy_(-model.embed)

    await engine.exchange(load, version=1)
    sample = (await task).samples[0]
    fresh = (await make_engine(max_length=1024).generate(ask(prompt_of(900)))).samples[0]
    assert sample.token_ids.tolist() == fresh.token_ids.tolist()
    assert set(sample.versions.tolist()) == {1}
