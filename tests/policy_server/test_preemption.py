"""An urgent request takes the slot of a less urgent sample, which loses no token by it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from policy_server.engine import Engine
from policy_server.requests import GenerateRequest, GenerateResult


def ask(**fields: Any) -> GenerateRequest:
    return GenerateRequest(**{"prompt_token_ids": [40, 41, 42], "max_tokens": 30, "ignore_eos": True, **fields})


def ids(result: GenerateResult) -> list[list[int]]:
    return [sample.token_ids.tolist() for sample in result.samples]


class HoldAt:
    """Holds the engine in its n-th decode step until told to go on."""

    def __init__(self, model: Any, step: int) -> None:
        self.there, self.go = threading.Event(), threading.Event()

        def look() -> None:
            if model.num_decodes + 1 == step:
                self.there.set()
                assert self.go.wait(10)

        model.before_decode = look

    async def arrived(self) -> None:
        assert await asyncio.to_thread(self.there.wait, 10)


@pytest.mark.parametrize("num_prefixes", [3, 0], ids=["state kept", "state computed again"])
async def test_a_preempted_sample_loses_no_token(
    make_engine: Callable[..., Engine], model: Any, num_prefixes: int
) -> None:
    calm = make_engine()
    want_slow, want_urgent = await calm.generate(ask(seed=1, n=2, priority=5)), await calm.generate(ask(seed=9, n=2))
    engine = make_engine(num_slots=2, num_prefixes=num_prefixes)
    hold = HoldAt(model, model.num_decodes + 8)
    order: list[str] = []

    async def run(name: str, request: GenerateRequest) -> GenerateResult:
        result = await engine.generate(request)
        order.append(name)
        return result

    slow = asyncio.create_task(run("slow", ask(seed=1, n=2, priority=5)))
    await hold.arrived()
    urgent = asyncio.create_task(run("urgent", ask(seed=9, n=2)))
    await asyncio.sleep(0)
    hold.go.set()
    assert ids(await urgent) == ids(want_urgent)
    assert ids(await slow) == ids(want_slow)
    assert order == ["urgent", "slow"]
    assert engine.stats["preempted"] == 2
    assert engine.stats["free_slots"] == 2


async def test_equal_priority_takes_nothing(make_engine: Callable[..., Engine], model: Any) -> None:
    engine = make_engine(num_slots=1, num_prefixes=2)
    hold = HoldAt(model, 4)
    first = asyncio.create_task(engine.generate(ask(seed=1)))
    await hold.arrived()
    second = asyncio.create_task(engine.generate(ask(seed=2)))
    await asyncio.sleep(0)
    hold.go.set()
    await asyncio.gather(first, second)
    assert engine.stats["preempted"] == 0


async def test_a_parked_request_can_be_taken_back(make_engine: Callable[..., Engine], model: Any) -> None:
    engine = make_engine(num_slots=1, num_prefixes=1)
    hold = HoldAt(model, 4)
    slow = asyncio.create_task(engine.generate(ask(seed=1, priority=5)))
    await hold.arrived()
    urgent = asyncio.create_task(engine.generate(ask(seed=9, max_tokens=100)))
    await asyncio.sleep(0)
    hold.go.set()
    while not engine.stats["preempted"]:
        await asyncio.sleep(0)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    await urgent
    after = await engine.generate(ask(seed=3, keep=True))
    assert ids(after) == ids(await make_engine().generate(ask(seed=3)))
    assert engine.stats["free_slots"] == 1
