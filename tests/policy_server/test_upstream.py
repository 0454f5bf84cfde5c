"""A policy server in front of another OpenAI-compatible server: here one of ours, or a five-line fake."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import numpy as np
import pytest
from aiohttp import web

from gym_core.client import Client
from gym_core.errors import BadRequest, PolicyFault, Unavailable
from gym_core.serve import start
from gym_core.tokens import FRAME_TYPE, decode_trace, pack_frame
from model.tokenizer import Tokenizer
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.requests import GenerateRequest
from policy_server.upstream import ChatUpstream, Upstream

ASK = {"input": [{"role": "user", "content": "What is 2 + 3?"}], "seed": 1, "max_output_tokens": 8}


async def turn(client: Client, request: dict[str, Any], trace: bytes = b"", num_items: int = 0) -> tuple[dict, bytes]:
    head = msgspec.json.encode({"request": request, "num_previous_items": num_items})
    answer, blob = (await client.post("/v1/responses", pack_frame(head, trace), {"Content-Type": FRAME_TYPE})).frame()
    return msgspec.json.decode(answer), bytes(blob)


@pytest.fixture(params=[Upstream, ChatUpstream])
async def front(
    request: pytest.FixtureRequest, client: Client, tokenizer: Tokenizer, settings: PolicyConfig
) -> AsyncIterator[Client]:
    """A client of a second policy server, whose backend is the first."""
    upstream = request.param(f"{client.base_url}/v1", tokenizer, upstream_model="palaestra")
    async with await start(build_app(upstream, tokenizer, settings)) as served, Client(served.url) as front:
        yield front
    await upstream.close()


async def test_a_turn_through_two_servers_is_the_turn_of_one(client: Client, front: Client) -> None:
    direct, direct_blob = await turn(client, ASK)
    head, blob = await turn(front, ASK)
    got, want = decode_trace(blob), decode_trace(direct_blob)
    assert got.token_ids.tolist() == want.token_ids.tolist()
    assert got.logprobs == pytest.approx(want.logprobs, abs=1e-6)
    assert (got.loss_mask == want.loss_mask).all()
    assert (got.versions == want.versions).all()
    assert head["response"]["output"][0]["content"] == direct["response"]["output"][0]["content"]


async def test_a_second_turn_through_two_servers_continues(front: Client) -> None:
    head, first = await turn(front, ASK)
    history = [*ASK["input"], *head["response"]["output"], {"role": "user", "content": "More?"}]
    head, second = await turn(front, ASK | {"input": history}, first, len(history) - 1)
    assert head["began"] in ("", "history_rewritten")
    assert decode_trace(second).loss_mask.any()


async def test_a_constraint_passes_through_and_nothing_under_it_is_trained_on(front: Client) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    schema["additionalProperties"] = False
    ask = ASK | {"max_output_tokens": 200, "text": {"format": {"type": "json_schema", "name": "x", "schema": schema}}}
    head, blob = await turn(front, ask)
    text = head["response"]["output"][0]["content"][0]["text"]
    assert set(msgspec.json.decode(text)) == {"ok"}
    assert not decode_trace(blob).loss_mask.any()


async def test_a_thinking_budget_passes_through_and_its_tag_is_not_trained_on(front: Client) -> None:
    ask = ASK | {"chat_template_kwargs": {"enable_thinking": True}, "thinking_token_budget": 4, "ignore_eos": True}
    head, blob = await turn(front, ask)
    trace, start = decode_trace(blob), head["response"]["usage"]["input_tokens"]
    assert trace.token_ids[start + 3] == 13  # </think>
    assert trace.loss_mask[start:].tolist() == [True] * 3 + [False] + [True] * 4


async def test_refusals_pass_through(front: Client) -> None:
    with pytest.raises(BadRequest):
        await front.post("/v1/responses", ASK | {"temperature": -1})


async def fake(reply: Any, status: int = 200, refuse: str = "") -> web.Application:
    seen: list[dict[str, Any]] = []

    async def chat(request: web.Request) -> web.Response:
        seen.append(await request.json())
        if refuse and refuse in seen[-1]:
            return web.json_response({"error": {"message": f"unknown {refuse}", "type": "x", "code": 400}}, status=400)
        return web.json_response(reply, status=status)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_post("/v1/completions", chat)
    app["seen"] = seen
    return app


CALLS = {
    "usage": {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39, "completion_tokens_details": None},
    "choices": [
        {
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": None,
                "reasoning_content": "let me look",
                "tool_calls": [
                    {"id": "c9", "type": "function", "function": {"name": "lookup", "arguments": '{"id":7}'}}
                ],
            },
        }
    ],
}


@pytest.mark.filterwarnings("ignore:It is recommended to use web.AppKey")
async def test_a_server_that_tells_no_tokens_gives_an_untrainable_trace(
    tokenizer: Tokenizer, settings: PolicyConfig
) -> None:
    app = await fake(CALLS)
    async with await start(app) as there:
        upstream = ChatUpstream(there.url, tokenizer, upstream_model="big")
        async with await start(build_app(upstream, tokenizer, settings)) as served, Client(served.url) as client:
            head, blob = await turn(client, ASK)
        await upstream.close()
    kinds = [item["type"] for item in head["response"]["output"]]
    assert kinds == ["reasoning", "function_call"]
    assert head["response"]["output"][1]["call_id"] == "c9"
    assert head["finish_reason"] == "tool_calls"
    assert not decode_trace(blob).loss_mask.any()
    assert (head["response"]["usage"]["input_tokens"], head["response"]["usage"]["output_tokens"]) == (30, 9)
    assert head["policy_version_max"] == -1


@pytest.mark.filterwarnings("ignore:It is recommended to use web.AppKey")
async def test_a_server_that_knows_only_openais_fields_is_asked_without_ours(tokenizer: Tokenizer) -> None:
    app = await fake({"choices": [{"text": "5", "finish_reason": "stop"}]}, refuse="return_token_ids")
    async with await start(app) as there:
        upstream = Upstream(there.url, tokenizer, upstream_model="big")
        for _ in range(2):
            [sample] = (await upstream.generate(GenerateRequest(prompt_token_ids=[40], max_tokens=4))).samples
        await upstream.close()
    assert not sample.exact
    assert np.array_equal(sample.token_ids, tokenizer.encode("5"))
    assert ["return_token_ids" in body for body in app["seen"]] == [True, False, False]


@pytest.mark.filterwarnings("ignore:It is recommended to use web.AppKey")
@pytest.mark.parametrize("reply", [{"nothing": 1}, {"choices": []}, {"choices": [{}]}])
async def test_replies_that_are_no_answer_are_a_policy_fault(tokenizer: Tokenizer, reply: Any) -> None:
    async with await start(await fake(reply)) as there:
        upstream = Upstream(there.url, tokenizer, upstream_model="big")
        with pytest.raises(PolicyFault):
            await upstream.generate(GenerateRequest(prompt_token_ids=[40], max_tokens=4))
        await upstream.close()


async def test_nobody_there_is_unavailable(tokenizer: Tokenizer) -> None:
    app = web.Application()
    async with await start(app) as there:
        url = there.url
    upstream = Upstream(url, tokenizer, upstream_model="big")
    with pytest.raises(Unavailable):
        await upstream.generate(GenerateRequest(prompt_token_ids=[40], max_tokens=4))
    await upstream.close()


async def test_a_wrong_model_there_is_a_fault_here(client: Client, tokenizer: Tokenizer) -> None:
    upstream = Upstream(client.base_url, tokenizer, upstream_model="other")
    with pytest.raises(PolicyFault, match="no model 'other'"):
        await upstream.generate(GenerateRequest(prompt_token_ids=[40], max_tokens=4))
    await upstream.close()
