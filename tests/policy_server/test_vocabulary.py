"""A model with more ids than its tokenizer names draws them now and then: they are text that nobody can read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
import torch

from gym_core.client import Client
from gym_core.errors import BadRequest
from gym_core.serve import start
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import StreamDecoder, Tokenizer
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.launch import embed

MORE = 40


@pytest.fixture
async def wide_client(tokenizer: Tokenizer, settings: PolicyConfig) -> AsyncIterator[Client]:
    """A policy whose likeliest tokens are those without a name."""
    model = HybridModel(HybridConfig.tiny(tokenizer.vocab_size + MORE), seed=1)
    with torch.no_grad():
        model.lm_head.weight[tokenizer.vocab_size :] *= 20
    engine = embed(model, tokenizer, msgspec.structs.replace(settings, num_slots=4, max_length=128)).start()
    async with await start(build_app(engine, tokenizer, settings)) as served, Client(served.url) as client:
        yield client
    await engine.close()


def bodies() -> list[tuple[str, dict[str, Any]]]:
    sampling = {"max_tokens": 20, "seed": 1, "ignore_eos": True}
    messages = [{"role": "user", "content": "What is 2 + 3?"}]
    return [
        ("completions", {"prompt": "What", "logprobs": 3, "echo": True, **sampling}),
        ("completions", {"prompt": "What", "logprobs": 1, "stop": ["zzz"], **sampling}),
        ("chat/completions", {"messages": messages, "logprobs": True, "top_logprobs": 3, **sampling}),
        ("responses", {"input": "What", "max_output_tokens": 20, "seed": 1, "ignore_eos": True, "top_logprobs": 2}),
    ]


@pytest.mark.parametrize(("route", "body"), bodies())
async def test_every_route_answers(wide_client: Client, tokenizer: Tokenizer, route: str, body: dict[str, Any]) -> None:
    reply = await wide_client.post_json(f"/v1/{route}", body | {"return_token_ids": True})
    told = reply["output"][-1] if route == "responses" else reply["choices"][0]
    ids = told["generation_token_ids"] if route == "responses" else told["token_ids"]
    assert max(ids) >= tokenizer.vocab_size, "the draw met none"
    text = {
        "completions": lambda: told["text"],
        "chat/completions": lambda: told["message"]["content"],
        "responses": lambda: told["content"][0]["text"],
    }[route]()
    assert "\ufffd" in text


@pytest.mark.parametrize(("route", "body"), [(route, body) for route, body in bodies() if route != "responses"])
async def test_streams_add_up_to_the_same(wide_client: Client, route: str, body: dict[str, Any]) -> None:
    whole = (await wide_client.post_json(f"/v1/{route}", body))["choices"][0]
    shown = ""
    async for event in wide_client.events(f"/v1/{route}", body | {"stream": True}):
        if event != b"[DONE]":
            [chunk] = msgspec.json.decode(event)["choices"]
            shown += chunk["text"] if "text" in chunk else chunk["delta"].get("content") or ""
    assert shown == (whole["text"] if "text" in whole else whole["message"]["content"])


async def test_a_grammar_never_lets_one_through(wide_client: Client) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    body = {"prompt": "x", "guided_json": schema, "max_tokens": 60, "seed": 2}
    choice = (await wide_client.post_json("/v1/completions", body))["choices"][0]
    assert choice["finish_reason"] == "length" or "a" in msgspec.json.decode(choice["text"])
    assert "\ufffd" not in choice["text"]


async def test_it_may_stand_in_a_prompt_and_not_in_detokenize(wide_client: Client, tokenizer: Tokenizer) -> None:
    prompt = [30, tokenizer.vocab_size + 3, 31]
    reply = await wide_client.post_json("/v1/completions", {"prompt": prompt, "max_tokens": 0, "echo": True})
    assert reply["choices"][0]["text"].count("\ufffd") == 1
    with pytest.raises(BadRequest, match="outside the vocabulary"):
        await wide_client.post_json("/detokenize", {"tokens": prompt})


def test_only_sampled_ids_may_be_nameless(tokenizer: Tokenizer) -> None:
    beyond = tokenizer.vocab_size
    assert tokenizer.token_bytes(beyond, sampled=True).decode() == "\ufffd"
    assert StreamDecoder(tokenizer).push(beyond) == "\ufffd"
    with pytest.raises(ValueError, match="outside the vocabulary"):
        tokenizer.token_bytes(beyond)
    with pytest.raises(ValueError, match="outside the vocabulary"):
        tokenizer.token_bytes(-1, sampled=True)
