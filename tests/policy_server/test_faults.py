"""Crashes of the engine's thread: what had begun fails with a typed error, what waits is served, and it goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from gym_core.errors import PolicyFault, Unavailable
from policy_server.engine import Engine
from policy_server.requests import GenerateRequest


class Killed(BaseException):
    """Nothing that a step expects."""


def ask(**fields: Any) -> GenerateRequest:
    return GenerateRequest(**{"prompt_token_ids": [40, 41], "max_tokens": 10, "ignore_eos": True, "seed": 1, **fields})


def die_once(model: Any, at: int) -> None:
    def die() -> None:
        if model.num_decodes + 1 == at:
            model.before_decode = lambda: None
            raise Killed("the thread is gone")

    model.before_decode = die


async def test_the_engine_starts_again_after_its_thread_crashed(make_engine: Callable[..., Engine], model: Any) -> None:
    want = (await make_engine().generate(ask(seed=2))).samples[0].token_ids.tolist()
    engine = make_engine(num_slots=1, num_prefixes=2)
    die_once(model, model.num_decodes + 4)
    running = asyncio.create_task(engine.generate(ask()))
    waiting = asyncio.create_task(engine.generate(ask(seed=2)))
    with pytest.raises(PolicyFault, match="the thread is gone"):
        await running
    assert (await waiting).samples[0].token_ids.tolist() == want
    assert engine.stats["restarts"] == 1
    assert engine.stats["free_slots"] == 1


async def test_a_crash_outside_of_a_step_is_survived_too(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    drop = engine._drop

    def explode(now: float) -> None:
        monkeypatch.setattr(engine, "_drop", drop)
        raise Killed

    monkeypatch.setattr(engine, "_drop", explode)
    assert len((await engine.generate(ask())).samples[0].token_ids) == 10  # it had not begun: it is not lost
    assert engine.stats["restarts"] == 1


async def test_a_command_that_kills_the_thread_is_answered(engine: Engine) -> None:
    def kill() -> None:
        raise Killed

    with pytest.raises(PolicyFault, match="Killed"):
        await engine.between_steps(kill)
    assert len((await engine.generate(ask())).samples) == 1


async def test_the_policy_version_survives(engine: Engine, model: Any) -> None:
    await engine.exchange(lambda: None, version=4)
    die_once(model, 3)
    with pytest.raises(PolicyFault):
        await engine.generate(ask())
    assert set((await engine.generate(ask())).samples[0].versions.tolist()) == {4}


async def test_an_engine_that_only_crashes_stays_closed(engine: Engine, model: Any) -> None:
    def die() -> None:
        raise Killed

    model.before_decode = die
    for _ in range(5):
        with pytest.raises(PolicyFault):
            await engine.generate(ask())
    with pytest.raises(Unavailable):
        await engine.generate(ask())
