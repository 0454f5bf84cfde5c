"""What raw completions say besides the answer: alternatives, the prompt itself, its scores."""

from __future__ import annotations

import pytest

from gym_core.client import Client


async def test_alternatives_are_the_likeliest_and_hold_the_greedy_token(client: Client) -> None:
    body = {"prompt": "What", "max_tokens": 6, "logprobs": 3, "temperature": 0, "ignore_eos": True}
    told = (await client.post_json("/v1/completions", body | {"return_tokens_as_token_ids": True}))["choices"][0][
        "logprobs"
    ]
    for token, logprob, top in zip(told["tokens"], told["token_logprobs"], told["top_logprobs"], strict=True):
        assert len(top) == 3
        assert next(iter(top)) == token
        assert top[token] == pytest.approx(logprob)
        assert list(top.values()) == sorted(top.values(), reverse=True)


async def test_chat_alternatives(client: Client) -> None:
    body = {"messages": [{"role": "user", "content": "x"}], "max_tokens": 4, "logprobs": True, "top_logprobs": 2}
    entries = (await client.post_json("/v1/chat/completions", body | {"n": 2}))["choices"][1]["logprobs"]["content"]
    assert [len(entry["top_logprobs"]) for entry in entries] == [2] * len(entries)
    assert all(entry["logprob"] <= entry["top_logprobs"][0]["logprob"] + 1e-6 for entry in entries)


async def test_echo_repeats_the_prompt_and_scores_it(client: Client) -> None:
    body = {"prompt": "What is", "echo": True, "logprobs": 0, "max_tokens": 5, "seed": 1, "return_token_ids": True}
    choice = (await client.post_json("/v1/completions", body | {"ignore_eos": True}))["choices"][0]
    ids = choice["prompt_token_ids"] + choice["token_ids"]
    scores = (await client.post_json("/score", {"token_ids": [ids]}))["logprobs"][0]
    assert choice["text"].startswith("What is")
    assert choice["logprobs"]["token_logprobs"][0] is None
    assert choice["logprobs"]["token_logprobs"][1:] == pytest.approx(scores[1:], abs=1e-5)


async def test_echo_alone_samples_nothing(client: Client) -> None:
    body = {"prompt": ["What is", "name"], "echo": True, "logprobs": 1, "max_tokens": 0}
    reply = await client.post_json("/v1/completions", body)
    assert [choice["text"] for choice in reply["choices"]] == ["What is", "name"]
    assert reply["usage"]["completion_tokens"] == 0
    assert len(reply["choices"][0]["logprobs"]["tokens"]) == len(reply["choices"][0]["logprobs"]["token_logprobs"])
