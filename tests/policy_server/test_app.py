"""Routes beyond OpenAI's: scores, tokens, health."""

from __future__ import annotations

import pytest

from gym_core.client import Client
from gym_core.errors import BadRequest, Unauthorized
from gym_core.serve import start
from model.tokenizer import Tokenizer
from policy_server.app import build_app
from policy_server.engine import Engine

PROMPT = {"prompt": [40, 41, 42], "max_tokens": 8, "seed": 1, "ignore_eos": True, "return_token_ids": True}


async def test_health_version_and_metrics(client: Client, engine: Engine) -> None:
    assert (await client.get_json("/healthz"))["status"] == "ok"
    assert await client.get_json("/version") == {"version": 0, "model": "palaestra"}
    await client.post("/v1/completions", PROMPT)
    told = (await client.get("/metrics")).text
    assert "palaestra_policy_free_slots 8.0" in told
    assert "palaestra_policy_drains 0.0" in told


async def test_a_token_is_asked_for(engine: Engine, tokenizer: Tokenizer) -> None:
    async with await start(build_app(engine, tokenizer, token="secret")) as served, Client(served.url) as client:
        with pytest.raises(Unauthorized):
            await client.post("/v1/completions", PROMPT)
        assert (await client.get("/healthz")).ok


async def test_tokenize_and_back(client: Client, tokenizer: Tokenizer) -> None:
    body = await client.post_json("/tokenize", {"prompt": "What is 2 + 3?"})
    assert body == {"tokens": tokenizer.encode("What is 2 + 3?"), "count": len(body["tokens"]), "max_model_len": 1024}
    assert await client.post_json("/detokenize", {"tokens": body["tokens"]}) == {"prompt": "What is 2 + 3?"}
    told = await client.post_json("/tokenize", {"prompt": "2 + é", "return_token_strs": True})
    assert "".join(told["token_strs"][:-2]) == "2 + "
    assert len(told["token_strs"]) == told["count"]
    with pytest.raises(BadRequest) as caught:
        await client.post(
            "/tokenize", {"messages": [{"role": "user", "content": "hi"}], "add_generation_prompt": False}
        )
    assert caught.value.field == "add_generation_prompt"
    chat = await client.post_json("/tokenize", {"messages": [{"role": "user", "content": "hi"}]})
    assert tokenizer.decode(chat["tokens"]).endswith("<|im_start|>assistant\n<think></think>")
    with pytest.raises(BadRequest):
        await client.post("/tokenize", {})
    with pytest.raises(BadRequest):
        await client.post("/detokenize", {"tokens": [10**9]})


async def test_scores_equal_what_sampling_said(client: Client) -> None:
    choice = (await client.post_json("/v1/completions", PROMPT))["choices"][0]
    whole = choice["prompt_token_ids"] + choice["token_ids"]
    body = await client.post_json("/score", {"token_ids": [whole, [50, 51], whole[:4]]})
    assert body["policy_version"] == 0
    assert [len(row) for row in body["logprobs"]] == [len(whole), 2, 4]
    assert [row[0] for row in body["logprobs"]] == [0.0, 0.0, 0.0]
    assert body["logprobs"][0][3:] == pytest.approx(choice["generation_log_probs"], abs=1e-5)
    assert body["logprobs"][2] == pytest.approx(body["logprobs"][0][:4], abs=1e-5)


@pytest.mark.parametrize("ids", [[], [10**6], [40] * 1025])
async def test_scores_of_bad_sequences_are_refused_by_number(client: Client, ids: list[int]) -> None:
    with pytest.raises(BadRequest) as caught:
        await client.post("/score", {"token_ids": [[40, 41], ids]})
    assert caught.value.field == "token_ids[1]"
