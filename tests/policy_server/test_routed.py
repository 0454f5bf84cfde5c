"""Routed experts told by the embedded engine are those that the full forward takes, however a sample was computed."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from gym_core.client import Client
from gym_core.errors import BadRequest
from gym_core.tokens import FRAME_TYPE, decode_trace, pack_frame
from model.routing import record_experts, replay_experts
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from policy_server.config import PolicyConfig
from policy_server.engine import Engine
from policy_server.launch import embed
from policy_server.requests import GenerateRequest, Sample
from policy_server.routed import UNKNOWN

PROMPT = list(range(40, 75))


def ask(prompt: list[int], **fields: object) -> GenerateRequest:
    given = {"max_tokens": 20, "ignore_eos": True, "seed": 3, "routed_experts": True, **fields}
    return GenerateRequest(prompt_token_ids=prompt, **given)  # type: ignore[arg-type]  # any field


def live(hybrid: HybridModel, ids: list[int]) -> np.ndarray:
    """Experts of every token under the full forward, each token's in rising order."""
    with torch.inference_mode(), record_experts(hybrid) as record:
        hybrid.forward(torch.tensor(ids), torch.tensor([0, len(ids)]))
        return np.sort(record.take().numpy().astype(np.int16), -1)


def told(sample: Sample) -> np.ndarray:
    assert sample.routed_experts is not None
    return np.sort(sample.routed_experts, -1)


def whole(prompt: list[int], sample: Sample) -> list[int]:
    return [*prompt, *sample.token_ids.tolist()]


def check(hybrid: HybridModel, prompt: list[int], sample: Sample) -> None:
    """Every row but the last, which was never read."""
    found = told(sample)
    np.testing.assert_array_equal(found[:-1], live(hybrid, whole(prompt, sample))[:-1])
    assert (found[-1] == UNKNOWN).all()


async def test_each_token_of_prompts_and_answers(hybrid_engine: Engine, hybrid: HybridModel) -> None:
    prompts = [PROMPT[: 3 + 5 * i] for i in range(6)]
    results = await asyncio.gather(*(hybrid_engine.generate(ask(prompt, n=2)) for prompt in prompts))
    for prompt, result in zip(prompts, results, strict=True):
        for sample in result.samples:
            check(hybrid, prompt, sample)


async def test_who_did_not_ask_is_told_nothing(hybrid_engine: Engine) -> None:
    asked, not_asked = await asyncio.gather(
        hybrid_engine.generate(ask(PROMPT)), hybrid_engine.generate(ask(PROMPT[1:], routed_experts=False))
    )
    assert asked.samples[0].routed_experts is not None and not_asked.samples[0].routed_experts is None


async def test_kept_prompts_and_turns_keep_theirs(hybrid_engine: Engine, hybrid: HybridModel) -> None:
    first = (await hybrid_engine.generate(ask(PROMPT, keep=True))).samples[0]
    again = await hybrid_engine.generate(ask(PROMPT, seed=4))
    assert again.num_cached == len(PROMPT)
    check(hybrid, PROMPT, again.samples[0])
    longer = [*whole(PROMPT, first), 50, 51, 52]
    turn = await hybrid_engine.generate(ask(longer, known_tokens=len(PROMPT) + len(first.token_ids)))
    assert turn.num_cached == len(PROMPT) + len(first.token_ids) - 1
    check(hybrid, longer, turn.samples[0])


async def test_a_prompt_read_for_somebody_who_did_not_ask_is_unknown(
    hybrid_engine: Engine, hybrid: HybridModel
) -> None:
    await hybrid_engine.generate(ask(PROMPT, routed_experts=False))
    sample = (await hybrid_engine.generate(ask(PROMPT))).samples[0]
    assert (told(sample)[: len(PROMPT)] == UNKNOWN).all()
    expected = live(hybrid, whole(PROMPT, sample))
    np.testing.assert_array_equal(told(sample)[len(PROMPT) : -1], expected[len(PROMPT) : -1])


@pytest.fixture
async def narrow(hybrid: HybridModel, tokenizer: Tokenizer) -> AsyncIterator[Callable[..., Engine]]:
    made: list[Engine] = []

    def make(**settings: object) -> Engine:
        given = {"num_slots": 1, "num_prefixes": 0, "max_length": 256, **settings}
        made.append(embed(hybrid, tokenizer, PolicyConfig(**given)).start())  # type: ignore[arg-type]  # any field
        return made[-1]

    yield make
    for engine in made:
        await engine.close()


async def test_a_preempted_sample_that_is_computed_again(
    narrow: Callable[..., Engine], hybrid: HybridModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, calls, asked_too = hybrid.decode, itertools.count(), threading.Event()

    def held(*given: Any) -> torch.Tensor:
        if next(calls) == 7:
            asked_too.wait(30)
        return decode(*given)

    monkeypatch.setattr(hybrid, "decode", held)
    engine, begun = narrow(), asyncio.Event()
    slow = asyncio.create_task(engine.generate(ask(PROMPT, priority=5, on_delta=lambda _: begun.set())))
    await asyncio.wait_for(begun.wait(), 30)
    urgent = asyncio.create_task(engine.generate(ask(PROMPT[:9], priority=0)))
    while not engine.stats["waiting"]:
        await asyncio.sleep(0)
    asked_too.set()
    results = await asyncio.gather(urgent, slow)
    assert engine.stats["preempted"] == 1
    check(hybrid, PROMPT[:9], results[0].samples[0])
    check(hybrid, PROMPT, results[1].samples[0])


@pytest.mark.parametrize("settings", [{"prefill_tokens": 8}, {"deterministic": True, "prefill_tokens": 16}])
async def test_prompts_read_in_pieces(
    narrow: Callable[..., Engine], hybrid: HybridModel, settings: dict[str, object]
) -> None:
    engine = narrow(num_slots=3, num_prefixes=4, **settings)
    prompts = [PROMPT, PROMPT[4:], PROMPT[:7]]
    results = await asyncio.gather(*(engine.generate(ask(prompt)) for prompt in prompts))
    for prompt, result in zip(prompts, results, strict=True):
        check(hybrid, prompt, result.samples[0])


async def test_replaying_what_was_recorded_gives_the_same_routing_and_logprobs(
    hybrid_engine: Engine, hybrid: HybridModel
) -> None:
    sample = (await hybrid_engine.generate(ask(PROMPT))).samples[0]
    ids = torch.tensor(whole(PROMPT, sample))
    with torch.no_grad():
        for mixer in hybrid.moe_layers():  # a learner whose own choice has drifted away
            mixer.gate.e_score_correction_bias += torch.linspace(-3, 3, 8)
    assert not np.array_equal(live(hybrid, ids.tolist())[:-1], told(sample)[:-1])
    experts = torch.from_numpy(sample.routed_experts)
    with torch.no_grad(), replay_experts(hybrid, experts), record_experts(hybrid) as record:
        hidden = hybrid.forward(ids, torch.tensor([0, len(ids)]))
        logprobs = hybrid.token_logprobs(hidden[:-1], ids[1:])[0].numpy()
    assert np.array_equal(np.sort(record.take().numpy(), -1)[:-1], told(sample)[:-1])
    assert np.abs(logprobs[len(PROMPT) - 1 :] - sample.logprobs).max() < 1e-5


async def test_over_frames_turn_by_turn(hybrid_client: Client, hybrid: HybridModel) -> None:
    items: list[dict[str, object]] = [{"role": "user", "content": "What is 2 + 3?"}]
    blob, num_previous = b"", 0
    for turn in range(2):
        request = {"input": items, "max_output_tokens": 12, "seed": turn + 2, "return_routed_experts": True}
        head = msgspec.json.encode({"request": request, "num_previous_items": num_previous})
        reply = await hybrid_client.post("/v1/responses", pack_frame(head, blob), {"Content-Type": FRAME_TYPE})
        answer, segment = reply.frame()
        heard = msgspec.json.decode(answer)
        assert heard["began"] == ("" if turn else "start")
        blob += bytes(segment)
        items += heard["response"]["output"]
        num_previous = len(items)
        items.append({"role": "user", "content": "And then?"})
    trace = decode_trace(blob)
    assert trace.routed_experts is not None and len(trace.routed_experts) == len(trace)
    unread = (trace.routed_experts == UNKNOWN).all((1, 2))
    assert unread.sum() == 2 and unread[-1]
    expected = live(hybrid, trace.token_ids.tolist())
    np.testing.assert_array_equal(np.sort(trace.routed_experts, -1)[~unread], expected[~unread])


@pytest.mark.parametrize("route", ["completions", "chat/completions", "responses"])
async def test_as_lists_at_the_edge(hybrid_client: Client, hybrid: HybridModel, route: str) -> None:
    asked = {"return_routed_experts": True, "return_token_ids": True, "seed": 1}
    given = {
        "completions": {"prompt": PROMPT, "max_tokens": 8},
        "chat/completions": {"messages": [{"role": "user", "content": "2 + 3?"}], "max_tokens": 8},
        "responses": {"input": "2 + 3?", "max_output_tokens": 8},
    }[route]
    body = (await hybrid_client.post(f"/v1/{route}", asked | given)).json()
    if route == "responses":
        [told_of] = [item for item in body["output"] if "routed_experts" in item]
        ids = told_of["prompt_token_ids"] + told_of["generation_token_ids"]
    else:
        told_of = body["choices"][0]
        ids = (body.get("prompt_token_ids") or told_of["prompt_token_ids"]) + told_of["token_ids"]
    found = np.sort(np.array(told_of["routed_experts"]), -1)
    np.testing.assert_array_equal(found[:-1], live(hybrid, ids)[:-1])


@pytest.mark.parametrize(
    ("change", "message"),
    [({"n_routed_experts": 256}, "255 at most"), ({"hybrid_override_pattern": "M*M"}, "no experts to tell")],
)
async def test_a_model_that_cannot_tell_is_refused(
    narrow: Callable[..., Engine], hybrid: HybridModel, change: dict[str, object], message: str
) -> None:
    hybrid.config = replace(hybrid.config, **change)  # type: ignore[arg-type]  # any field
    with pytest.raises(BadRequest, match=message) as caught:
        await narrow().generate(ask(PROMPT))
    assert caught.value.field == "return_routed_experts"
