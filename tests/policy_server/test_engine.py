from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from gym_core.errors import BadRequest, Busy, DeadlineExceeded, PolicyFault, Unavailable
from policy_server.engine import Engine
from policy_server.requests import Delta, GenerateRequest, GenerateResult


def ask(**fields: Any) -> GenerateRequest:
    return GenerateRequest(**{"prompt_token_ids": [40, 41, 42, 43], "max_tokens": 12, "ignore_eos": True, **fields})


def ids(result: GenerateResult) -> list[list[int]]:
    return [sample.token_ids.tolist() for sample in result.samples]


class Gate:
    """Holds the engine at the start of a decode step, where it says that it has arrived."""

    def __init__(self, model: Any, at: int = 1) -> None:
        self.arrived, self.open = threading.Event(), threading.Event()
        self._model, self._at = model, at
        model.before_decode = self._pass

    def _pass(self) -> None:
        if self._model.num_decodes + 1 == self._at:
            self.arrived.set()
            assert self.open.wait(10)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.arrived.wait, 10)


async def test_logprobs_equal_the_full_forward(
    engine: Engine, full_logprobs: Callable[[list[int]], list[float]]
) -> None:
    result = await engine.generate(ask(n=3, seed=5))
    for sample in result.samples:
        whole = [40, 41, 42, 43, *sample.token_ids.tolist()]
        assert sample.logprobs.tolist() == pytest.approx(full_logprobs(whole)[3:], abs=1e-5)


async def test_a_continued_turn_has_the_logprobs_of_the_full_forward(
    make_engine: Callable[..., Engine], full_logprobs: Callable[[list[int]], list[float]]
) -> None:
    engine = make_engine(num_prefixes=4)
    first = (await engine.generate(ask(seed=5, keep=True))).samples[0]
    trace = [40, 41, 42, 43, *first.token_ids.tolist()]
    prefilled = engine.stats["prefilled_tokens"]
    second = (await engine.generate(ask(prompt_token_ids=[*trace, 50, 51], known_tokens=len(trace), seed=6))).samples[0]
    assert engine.stats["prefilled_tokens"] - prefilled == 3  # the last sampled token and the two new ones
    whole = [*trace, 50, 51, *second.token_ids.tolist()]
    assert second.logprobs.tolist() == pytest.approx(full_logprobs(whole)[len(trace) + 1 :], abs=1e-5)


async def test_n_samples_equal_n_requests_with_the_seeds_that_follow(engine: Engine) -> None:
    together = await engine.generate(ask(n=3, seed=100))
    apart = [await engine.generate(ask(seed=100 + i)) for i in range(3)]
    assert ids(together) == [ids(each)[0] for each in apart]
    assert len({tuple(sample) for sample in ids(together)}) == 3


async def test_a_draw_does_not_depend_on_who_else_runs(engine: Engine) -> None:
    alone = await engine.generate(ask(seed=9))
    others = [ask(seed=i, prompt_token_ids=[50 + i] * (i + 1)) for i in range(9)]
    crowd = await asyncio.gather(*map(engine.generate, [*others[:4], ask(seed=9), *others[4:]]))
    assert ids(crowd[4]) == ids(alone)


async def test_more_samples_than_slots_run_in_parts(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(num_slots=3)
    result = await engine.generate(ask(n=7, seed=1))
    assert ids(result) == [ids(await engine.generate(ask(seed=1 + i)))[0] for i in range(7)]
    assert engine.stats["free_slots"] == 3


async def test_equal_prompts_are_computed_once_while_their_state_is_kept(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(num_prefixes=2)
    results = [await engine.generate(ask(seed=3)) for _ in range(4)]
    assert engine.stats["prefilled_tokens"] == 4
    assert engine.stats["prefix_hits"] == 3
    assert all(ids(result) == ids(results[0]) for result in results)


async def test_a_shared_beginning_is_computed_once(make_engine: Callable[..., Engine]) -> None:
    plain, engine = make_engine(), make_engine(num_prefixes=8)
    system = list(range(30, 70))
    requests = [ask(prompt_token_ids=[*system, 80 + i, 90], seed=i, shared_tokens=40) for i in range(5)]
    got = await asyncio.gather(*map(engine.generate, requests))
    assert engine.stats["prefilled_tokens"] == 40 + 5 * 2
    assert [result.num_cached for result in got] == [0, *[40] * 4]
    assert [ids(result) for result in got] == [ids(await plain.generate(request)) for request in requests]


async def test_many_prompts_through_a_small_prefix_cache(make_engine: Callable[..., Engine]) -> None:
    plain, kept = make_engine(num_slots=4), make_engine(num_slots=4, num_prefixes=2)
    requests = [ask(prompt_token_ids=[30 + i % 5] * 3, seed=i, n=1 + i % 3, keep=i % 2 == 0) for i in range(20)]
    requests += [ask(prompt_token_ids=[70 + i % 3] * 40 + [i], seed=i, shared_tokens=40) for i in range(30, 40)]
    want = await asyncio.gather(*(plain.generate(request) for request in requests))
    got = await asyncio.gather(*(kept.generate(request) for request in requests))
    assert [ids(result) for result in got] == [ids(result) for result in want]
    assert kept.stats["free_slots"] == 4


async def test_greedy_takes_the_likeliest_token(engine: Engine, model: Any) -> None:
    sample = (await engine.generate(ask(temperature=0.0))).samples[0]
    context = [40, 41, 42, 43]
    for token in sample.token_ids.tolist():
        with torch.no_grad():
            logits = model.logits(model.forward(torch.tensor(context), torch.tensor([0, len(context)])))[-1]
        assert token == int(logits.argmax())
        context.append(token)


async def test_ends_at_max_tokens_and_at_the_context(make_engine: Callable[..., Engine]) -> None:
    engine = make_engine(max_length=128)
    short = (await engine.generate(ask(max_tokens=5))).samples[0]
    assert (len(short.token_ids), short.finish_reason, short.stop_reason) == (5, "length", None)
    full = (await engine.generate(ask(prompt_token_ids=[40] * 120, max_tokens=None))).samples[0]
    assert len(full.token_ids) == 8


async def test_a_stop_id_ends_the_sample_and_is_part_of_it(engine: Engine) -> None:
    free = (await engine.generate(ask(seed=2))).samples[0].token_ids.tolist()
    stopped = (await engine.generate(ask(seed=2, stop_token_ids=[free[4]]))).samples[0]
    first = free.index(free[4])
    assert stopped.token_ids.tolist() == free[: first + 1]
    assert (stopped.finish_reason, stopped.stop_reason) == ("stop", free[4])


async def test_the_engines_own_stop_ids(make_engine: Callable[..., Engine]) -> None:
    free = (await make_engine().generate(ask(seed=2))).samples[0].token_ids.tolist()
    engine = make_engine(stop_ids=frozenset({free[3]}))
    stopped = (await engine.generate(ask(seed=2, ignore_eos=False))).samples[0]
    assert stopped.token_ids.tolist() == free[: free.index(free[3]) + 1]
    assert stopped.finish_reason == "stop"
    assert (await engine.generate(ask(seed=2))).samples[0].token_ids.tolist() == free


async def test_a_stop_string_ends_the_sample(engine: Engine, tokenizer: Any) -> None:
    free = (await engine.generate(ask(seed=2, max_tokens=40))).samples[0]
    text = tokenizer.decode(free.token_ids.tolist(), skip_special=True)
    stop = next(text[at : at + 2] for at in range(4, len(text)) if text[at : at + 2].isascii())
    stopped = (await engine.generate(ask(seed=2, max_tokens=40, stop=[stop]))).samples[0]
    assert (stopped.finish_reason, stopped.stop_reason) == ("stop", stop)
    told = tokenizer.decode(stopped.token_ids.tolist(), skip_special=True)
    assert told.count(stop) == 1
    assert len(stopped.token_ids) < len(free.token_ids)


async def test_deltas_add_up_to_the_sample(engine: Engine) -> None:
    deltas: list[Delta] = []
    result = await engine.generate(ask(n=2, seed=4, on_delta=deltas.append))
    for index, sample in enumerate(result.samples):
        mine = [delta for delta in deltas if delta.index == index]
        assert [token for delta in mine for token in delta.token_ids] == sample.token_ids.tolist()
        assert [delta.finish_reason for delta in mine] == [""] * 11 + ["length"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"prompt_token_ids": []}, "prompt"),
        ({"prompt_token_ids": [10**6]}, "prompt"),
        ({"n": 0}, "n"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"temperature": -1.0}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
    ],
)
async def test_bad_fields_are_named(engine: Engine, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        await engine.generate(ask(**fields))
    assert caught.value.field == field


async def test_a_prompt_longer_than_the_context_names_both_numbers(engine: Engine) -> None:
    with pytest.raises(BadRequest, match=r"prompt has 1024 tokens and the context length is 1024"):
        await engine.generate(ask(prompt_token_ids=[40] * 1024))


async def test_a_cancelled_request_frees_its_slots(engine: Engine, model: Any) -> None:
    gate = Gate(model)
    task = asyncio.create_task(engine.generate(ask(n=4, max_tokens=100)))
    await gate.wait()
    assert engine.stats["free_slots"] == 4
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.open.set()
    await engine.generate(ask(max_tokens=1))  # answered after the departure, by its prefill
    assert engine.stats["free_slots"] == 8
    assert model.num_decodes == 1, "no step after the one that it left in"


async def test_a_late_request_fails_and_frees_its_slot_while_others_go_on(engine: Engine, model: Any) -> None:
    gate = Gate(model)
    late = asyncio.create_task(engine.generate(ask(max_tokens=100, deadline_s=0.05)))
    fine = asyncio.create_task(engine.generate(ask(max_tokens=20, seed=1)))
    await gate.wait()
    await asyncio.sleep(0.06)  # the deadline itself passes
    gate.open.set()
    with pytest.raises(DeadlineExceeded, match=r"0\.05 s"):
        await late
    assert len((await fine).samples[0].token_ids) == 20
    assert engine.stats["free_slots"] == 8


async def test_a_waiting_request_can_be_late_too(make_engine: Callable[..., Engine], model: Any) -> None:
    engine = make_engine(num_slots=1)
    gate = Gate(model)
    running = asyncio.create_task(engine.generate(ask()))
    await gate.wait()
    waiting = asyncio.create_task(engine.generate(ask(deadline_s=0.01)))
    await asyncio.sleep(0.02)
    gate.open.set()
    with pytest.raises(DeadlineExceeded):
        await waiting
    assert len((await running).samples[0].token_ids) == 12


async def test_a_full_queue_is_busy(make_engine: Callable[..., Engine], model: Any) -> None:
    engine = make_engine(num_slots=1, max_waiting=2)
    gate = Gate(model)
    tasks = [asyncio.create_task(engine.generate(ask(seed=0)))]
    await gate.wait()
    tasks += [asyncio.create_task(engine.generate(ask(seed=i))) for i in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(Busy) as caught:
        await engine.generate(ask())
    assert caught.value.retry_after_s == 1.0
    gate.open.set()
    assert [len(result.samples) for result in await asyncio.gather(*tasks)] == [1, 1, 1]


async def test_smaller_priority_goes_first(make_engine: Callable[..., Engine], model: Any) -> None:
    engine = make_engine(num_slots=1)
    gate = Gate(model)
    order: list[int] = []

    async def run(priority: int) -> None:
        await engine.generate(ask(priority=priority, max_tokens=2))
        order.append(priority)

    tasks = [asyncio.create_task(run(0))]
    await gate.wait()
    tasks += [asyncio.create_task(run(priority)) for priority in (3, 1, 2)]
    await asyncio.sleep(0)
    gate.open.set()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3]


async def test_logits_that_are_not_finite_fail_the_request_and_nothing_else(engine: Engine, model: Any) -> None:
    with torch.no_grad():
        model.embed[60] = float("nan")
    bad = engine.generate(ask(prompt_token_ids=[60, 61], n=2))
    good = engine.generate(ask(seed=1, stop_token_ids=[60]))
    failed, answered = await asyncio.gather(bad, good, return_exceptions=True)
    assert isinstance(failed, PolicyFault)
    assert "not finite" in failed.message
    assert isinstance(answered, GenerateResult)
    assert engine.stats["free_slots"] == 8


async def test_a_step_that_raises_fails_what_runs_and_the_engine_lives_on(engine: Engine, model: Any) -> None:
    def explode() -> None:
        model.before_decode = lambda: None
        raise RuntimeError("out of memory")

    model.before_decode = explode
    with pytest.raises(PolicyFault, match="out of memory"):
        await engine.generate(ask())
    assert len((await engine.generate(ask())).samples[0].token_ids) == 12
    assert engine.stats["free_slots"] == 8


async def test_a_prefill_that_raises_leaves_no_state_behind(make_engine: Callable[..., Engine], model: Any) -> None:
    engine, prefill = make_engine(num_prefixes=4), model.prefill

    def explode(*_: Any) -> None:
        model.prefill = prefill
        raise RuntimeError("out of memory")

    model.prefill = explode
    request = ask(prompt_token_ids=[*range(30, 70), 80], shared_tokens=40, seed=1)
    with pytest.raises(PolicyFault):
        await engine.generate(request)
    assert ids(await engine.generate(request)) == ids(await make_engine().generate(request))


async def test_closing_answers_everyone(make_engine: Callable[..., Engine], model: Any) -> None:
    engine = make_engine(num_slots=1)
    gate = Gate(model)
    running = asyncio.create_task(engine.generate(ask(max_tokens=100)))
    await gate.wait()
    waiting = asyncio.create_task(engine.generate(ask()))
    command = asyncio.create_task(engine.between_steps(lambda: 1))
    await asyncio.sleep(0)
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0)
    gate.open.set()
    await closing
    for task in (running, waiting, command):
        with pytest.raises(Unavailable):
            await task
    with pytest.raises(Unavailable):
        await engine.generate(ask())


async def test_versions_change_at_the_swap(engine: Engine, model: Any) -> None:
    gate = Gate(model, at=5)
    task = asyncio.create_task(engine.generate(ask(max_tokens=12)))
    await gate.wait()
    swap = asyncio.create_task(engine.exchange(lambda: "loaded", version=7))
    await asyncio.sleep(0)
    gate.open.set()
    assert await swap == "loaded"
    sample = (await task).samples[0]
    # one token from the prefill, five from the steps up to the one that was held, the rest under the new weights
    assert sample.versions.tolist() == [0] * 6 + [7] * 6
    assert engine.version == 7


async def test_new_weights_forget_kept_states(make_engine: Callable[..., Engine], model: Any) -> None:
    engine = make_engine(num_prefixes=4)
    await engine.generate(ask(seed=3, keep=True))

    def load() -> None:
        model.embed.copy_(-model.embed)

    await engine.exchange(load, version=1)
    prefilled = engine.stats["prefilled_tokens"]
    after = await engine.generate(ask(seed=3))
    assert engine.stats["prefilled_tokens"] == prefilled + 4
    fresh = await make_engine().generate(ask(seed=3))
    assert ids(after) == ids(fresh)


async def test_a_failed_exchange_keeps_version_and_engine(engine: Engine) -> None:
    def load() -> None:
        raise ValueError("wrong file")

    with pytest.raises(ValueError, match="wrong file"):
        await engine.exchange(load, version=3)
    assert engine.version == 0
    assert len((await engine.generate(ask())).samples) == 1


async def test_sampled_frequencies_follow_the_distribution(engine: Engine, model: Any) -> None:
    result = await engine.generate(ask(n=400, max_tokens=1, seed=0))
    with torch.no_grad():
        hidden = model.forward(torch.tensor([40, 41, 42, 43]), torch.tensor([0, 4]))
        probs = model.logits(hidden)[-1].softmax(-1).numpy()
    counts = np.bincount([sample.token_ids[0] for sample in result.samples], minlength=len(probs))
    top = int(probs.argmax())
    spread = 4 * np.sqrt(400 * probs[top] * (1 - probs[top]))
    assert abs(counts[top] - 400 * probs[top]) < spread
