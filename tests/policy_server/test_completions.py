"""What raw completions say besides the answer: alternatives, the prompt itself, its scores."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gym_core.client import Client
from gym_core.errors import BadRequest


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


async def streamed(client: Client, body: dict[str, Any]) -> dict[int, dict[str, Any]]:
    """The chunks of each choice added up: text, and the columns of log-probabilities laid end to end."""
    choices: dict[int, dict[str, Any]] = {}
    async for event in client.events("/v1/completions", body | {"stream": True}):
        if event == b"[DONE]":
            continue
        for chunk in msgspec.json.decode(event)["choices"]:
            choice = choices.setdefault(chunk["index"], {"text": "", "logprobs": {}, "finish_reason": None})
            choice["text"] += chunk["text"]
            choice["finish_reason"] = chunk["finish_reason"] or choice["finish_reason"]
            for name, column in (chunk["logprobs"] or {}).items():
                known = choice["logprobs"].setdefault(name, column and [])
                if column:
                    known += column
    return choices


@pytest.mark.parametrize("num_top", [None, 0, 2])
@pytest.mark.parametrize("max_tokens", [0, 6])
async def test_a_streamed_echo_adds_up_to_the_whole(client: Client, num_top: int | None, max_tokens: int) -> None:
    body = {"prompt": ["What is", "name"], "n": 2, "echo": True, "logprobs": num_top, "max_tokens": max_tokens}
    body |= {"seed": 3, "ignore_eos": True}
    whole = (await client.post_json("/v1/completions", body))["choices"]
    parts = await streamed(client, body)
    assert sorted(parts) == [0, 1, 2, 3]
    for choice in whole:
        part = parts[choice["index"]]
        assert part["text"] == choice["text"] and choice["text"].startswith(("What is", "name"))
        assert part["finish_reason"] == choice["finish_reason"]
        told, want = part["logprobs"], choice["logprobs"] or {}
        assert told.keys() == want.keys()
        for name in ("tokens", "text_offset"):
            assert told.get(name) == want.get(name)
        # prompts are streamed one after the other, so a batch is another one
        assert told.get("token_logprobs") == pytest.approx(want.get("token_logprobs"), abs=1e-5)
        assert [top and list(top) for top in told.get("top_logprobs") or ()] == [
            top and list(top) for top in want.get("top_logprobs") or ()
        ]


async def test_a_wrong_request_is_an_error_reply_although_its_echo_could_be_streamed(client: Client) -> None:
    with pytest.raises(BadRequest) as caught:
        await streamed(client, {"prompt": [5] * 1024, "echo": True, "max_tokens": 3})
    assert caught.value.field == "prompt"
