"""The thinking budget: the thought ends within it, the answer follows, and the forced tag is never trained on."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from gym_core.client import Client
from gym_core.errors import BadRequest
from gym_core.tokens import FRAME_TYPE, NO_VERSION, decode_trace, pack_frame
from model.control_tokens import END_THINK, THINK
from policy_server.engine import Engine
from policy_server.requests import FORCED, GenerateRequest

THINKING: dict[str, Any] = {"chat_template_kwargs": {"enable_thinking": True}, "ignore_eos": True}
NEVER = {str(END_THINK): -100}
"""A policy that would think for ever."""


def think(**fields: Any) -> GenerateRequest:
    return GenerateRequest(
        **{"prompt_token_ids": [40, THINK], "thinking_open": True, "max_tokens": 20, "ignore_eos": True, **fields}
    )


@pytest.mark.parametrize(("budget", "at"), [(0, 0), (1, 0), (2, 1), (7, 6)])
async def test_the_thought_ends_within_its_budget(engine: Engine, budget: int, at: int) -> None:
    request = think(thinking_budget=budget, logit_bias={END_THINK: -100.0}, n=3)
    for sample in (await engine.generate(request)).samples:
        tokens = sample.token_ids.tolist()
        assert tokens.index(END_THINK) == at
        assert len(tokens) == 20  # the answer goes on
        assert sample.origin is not None
        assert sample.origin[at] == FORCED
        assert not sample.loss_mask[at]


async def test_forcing_is_not_seen_by_the_tokens_before_it(engine: Engine) -> None:
    free = (await engine.generate(think(seed=5, logit_bias={END_THINK: -100.0}))).samples[0]
    held = (await engine.generate(think(seed=5, logit_bias={END_THINK: -100.0}, thinking_budget=9))).samples[0]
    assert held.token_ids[:8].tolist() == free.token_ids[:8].tolist()
    assert held.logprobs[:8].tolist() == free.logprobs[:8].tolist()


async def test_a_thought_that_ends_by_itself_is_all_the_policys_own(engine: Engine) -> None:
    free = (await engine.generate(think(seed=5, max_tokens=6))).samples[0]
    held = (await engine.generate(think(seed=5, max_tokens=6, thinking_budget=50))).samples[0]
    assert held.token_ids.tolist() == free.token_ids.tolist()
    assert held.origin is None
    assert held.loss_mask.all()


async def test_thoughts_opened_later_count_too(engine: Engine) -> None:
    bias = {END_THINK: -100.0, THINK: 100.0}
    sample = (await engine.generate(think(thinking_budget=3, logit_bias=bias, max_tokens=9))).samples[0]
    # the budget is used up by the first thought: any other is closed at once
    assert sample.token_ids[2] == END_THINK
    assert sample.token_ids[3:].tolist() == [THINK, END_THINK] * 3


async def test_the_forced_tag_in_the_trace(client: Client) -> None:
    request = THINKING | {
        "input": "2+3?",
        "max_output_tokens": 12,
        "reasoning_budget": 5,
        "seed": 1,
    }
    head = msgspec.json.encode({"request": request, "num_previous_items": 0})
    reply = await client.post("/v1/responses", pack_frame(head, b""), {"Content-Type": FRAME_TYPE})
    answer, blob = reply.frame()
    trace, usage = decode_trace(blob), msgspec.json.decode(answer)["response"]["usage"]
    start = usage["input_tokens"]
    generated = slice(start, None)
    assert trace.token_ids[start + 4] == END_THINK
    assert trace.loss_mask[generated].tolist() == [True] * 4 + [False] + [True] * 7
    assert trace.logprobs[start + 4] == 0.0
    assert trace.versions[start + 4] == NO_VERSION
    assert trace.spans[1:3] == [("think", start, start + 4), ("think", start + 4, start + 5)]
    assert usage["output_tokens_details"]["reasoning_tokens"] == 5


async def test_the_json_bundle_says_which_token_was_forced(client: Client) -> None:
    body = THINKING | {"messages": [{"role": "user", "content": "2+3?"}], "max_tokens": 12, "return_token_ids": True}
    reply = await client.post_json("/v1/chat/completions", body | {"thinking_token_budget": 5, "seed": 1})
    message = reply["choices"][0]["message"]
    assert message["generation_token_ids"][4] == END_THINK
    assert message["generation_loss_mask"] == [1] * 4 + [0] + [1] * 7
    assert message["reasoning_content"]


async def test_raw_prompts_have_a_budget_too(client: Client) -> None:
    body = {"prompt": "Hm <think>", "reasoning_budget": 3, "logit_bias": NEVER, "return_token_ids": True}
    choice = (await client.post_json("/v1/completions", body | {"max_tokens": 8, "ignore_eos": True}))["choices"][0]
    assert choice["token_ids"][2] == END_THINK


async def test_a_constraint_waits_for_the_thought_to_end(client: Client) -> None:
    body = THINKING | {"messages": [{"role": "user", "content": "2+3?"}], "max_tokens": 80, "seed": 2}
    body |= {"reasoning_budget": 6, "logit_bias": NEVER, "structured_outputs": {"choice": ["five"]}}
    message = (await client.post_json("/v1/chat/completions", body))["choices"][0]["message"]
    assert message["content"] == "five"
    assert message["reasoning_content"]


async def test_no_budget_below_zero(client: Client) -> None:
    for route, body in (
        ("chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("completions", {"prompt": "x"}),
    ):
        with pytest.raises(BadRequest) as caught:
            await client.post_json(f"/v1/{route}", body | {"reasoning_budget": -1})
        assert caught.value.field == "reasoning_budget"


async def test_penalties_follow_openais_formula(engine: Engine) -> None:
    """A greedy policy with a bias of 50 on token 60 says 60 until its penalty of 2 + 2 per use outweighs the bias."""
    request = GenerateRequest(prompt_token_ids=[40, 41], max_tokens=60, ignore_eos=True, temperature=0.0)
    request.logit_bias, request.presence_penalty, request.frequency_penalty = {60: 50.0}, 2.0, 2.0
    tokens = (await engine.generate(request)).samples[0].token_ids
    runs = int(np.flatnonzero(tokens != 60)[0])
    assert 18 <= runs <= 26  # (50 - 2) / 2, give or take what the logits themselves say
