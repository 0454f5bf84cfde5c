"""A real vLLM on a CPU with our plugin: its numbers against ours, and new weights while it runs.

All tests that need the server are in this file, so that one server serves a whole run of the suite.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gym_core.client import Client
from gym_core.errors import Conflict, PolicyFault
from gym_core.serve import start
from gym_core.tokens import FRAME_TYPE, decode_trace, pack_frame
from model import checkpoint
from model.control_tokens import END_THINK, THINK
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from policy_server.app import build_app
from policy_server.config import PolicyConfig
from policy_server.requests import FORCED, Backend, Delta, GenerateRequest, Sample
from policy_server.vllm.backend import VllmBackend
from policy_server.vllm.process import VllmProcess

EXACT = 1e-5
MakeModel = Callable[[int, int], HybridModel]


def prompt(length: int, seed: int, vocab_size: int) -> list[int]:
    return np.random.default_rng(seed).integers(18, vocab_size, length).tolist()


@pytest.fixture(scope="session")
def first(checkpoint_folder: Path) -> HybridModel:
    """Ours, of the weights that vLLM was started with."""
    return checkpoint.load_pretrained(checkpoint_folder)


def logprobs(model: HybridModel, before: list[int], sample: Sample, temperature: float = 1.0) -> np.ndarray:
    """Of a sample, by the full forward of ours."""
    ids = torch.tensor(before + sample.token_ids.tolist())
    with torch.no_grad():
        logits = model.logits(model.forward(ids, torch.tensor([0, len(ids)]))[len(before) - 1 : -1])
        told = (logits.float() / temperature).log_softmax(-1)
    return told.gather(1, ids[len(before) :, None]).squeeze(1).numpy()


@pytest.mark.parametrize("temperature", [1.0, 0.7])
async def test_sampled_tokens_have_our_log_probabilities(
    vllm_backend: VllmBackend, first: HybridModel, temperature: float
) -> None:
    async def drift(length: int) -> float:
        ids = prompt(length, length, first.config.vocab_size)
        request = GenerateRequest(prompt_token_ids=ids, max_tokens=32, ignore_eos=True, temperature=temperature, seed=1)
        [sample] = (await vllm_backend.generate(request)).samples
        return float(np.abs(logprobs(first, ids, sample, temperature) - sample.logprobs).max())

    drifts = await asyncio.gather(*map(drift, (5, 33, 64, 100, 128, 257, 300)))
    assert max(drifts) < EXACT, drifts


async def test_its_tokens_have_transformers_log_probabilities(
    vllm_backend: VllmBackend, checkpoint_folder: Path, first: HybridModel
) -> None:
    transformers = pytest.importorskip("transformers")
    reference = transformers.NemotronHForCausalLM.from_pretrained(checkpoint_folder, dtype=torch.float32).eval()
    for layer in reference.model.layers:
        if hasattr(
            layer.mixer, "time_step_limit"
        ):  # it clamps dt on this path alone; see tests/model/test_transformers
            layer.mixer.time_step_limit = (0.0, float("inf"))
    ids = prompt(70, 7, first.config.vocab_size)
    [sample] = (await vllm_backend.generate(GenerateRequest(prompt_token_ids=ids, max_tokens=48, seed=2))).samples
    whole = torch.tensor([ids + sample.token_ids.tolist()])
    with torch.no_grad():
        told = reference(whole, use_cache=False).logits[0, len(ids) - 1 : -1].log_softmax(-1)
    expected = told.gather(1, whole[0, len(ids) :, None]).squeeze(1).numpy()
    assert np.abs(expected - sample.logprobs).max() < EXACT


async def test_decoding_agrees_with_its_own_prefill(vllm_backend: VllmBackend, first: HybridModel) -> None:
    ids = prompt(150, 8, first.config.vocab_size)
    [sample] = (await vllm_backend.generate(GenerateRequest(prompt_token_ids=ids, max_tokens=64, seed=3))).samples
    [scores], _ = await vllm_backend.score([ids + sample.token_ids.tolist()])
    assert scores[0] == 0.0
    assert np.abs(scores[len(ids) :] - sample.logprobs).max() < EXACT


async def test_a_cached_prefix_changes_no_number(vllm_backend: VllmBackend, first: HybridModel) -> None:
    ids = prompt(300, 9, first.config.vocab_size)
    request = GenerateRequest(prompt_token_ids=ids, max_tokens=16, ignore_eos=True, seed=4)
    await vllm_backend.generate(request)
    again = await vllm_backend.generate(request)
    assert again.num_cached >= 128
    assert np.abs(logprobs(first, ids, again.samples[0]) - again.samples[0].logprobs).max() < EXACT


@pytest.mark.parametrize(("budget", "at"), [(0, 0), (1, 0), (7, 6)])
async def test_the_thought_ends_within_its_budget_and_the_answer_goes_on(
    vllm_backend: VllmBackend, budget: int, at: int
) -> None:
    request = GenerateRequest(prompt_token_ids=[40, THINK], thinking_open=True, max_tokens=20, ignore_eos=True, n=2)
    request.thinking_budget, request.logit_bias = budget, {END_THINK: -100.0}
    for sample in (await vllm_backend.generate(request)).samples:
        tokens = sample.token_ids.tolist()
        assert tokens.index(END_THINK) == at
        assert len(tokens) == 20
        assert sample.origin is not None
        assert sample.origin[at] == FORCED


async def test_thoughts_opened_later_count_too(vllm_backend: VllmBackend) -> None:
    request = GenerateRequest(prompt_token_ids=[40, THINK], thinking_open=True, max_tokens=9, ignore_eos=True)
    request.thinking_budget, request.logit_bias = 3, {END_THINK: -100.0, THINK: 100.0}
    [sample] = (await vllm_backend.generate(request)).samples
    assert sample.token_ids[2] == END_THINK
    assert sample.token_ids[3:].tolist() == [THINK, END_THINK] * 3


async def test_pieces_of_a_stream_are_the_sample(vllm_backend: VllmBackend, tokenizer: Tokenizer) -> None:
    heard: list[Delta] = []
    request = GenerateRequest(prompt_token_ids=[40, 41], max_tokens=24, ignore_eos=True, seed=5, n=2)
    whole = await vllm_backend.generate(request)
    request.on_delta = heard.append
    streamed = await vllm_backend.generate(request)
    for index, (one, other) in enumerate(zip(whole.samples, streamed.samples, strict=True)):
        pieces = [delta for delta in heard if delta.index == index]
        assert len(pieces) > 1
        told = [token for delta in pieces for token in delta.token_ids]
        assert told == other.token_ids.tolist() == one.token_ids.tolist()
        assert other.versions.tolist() == one.versions.tolist()
        assert "".join(delta.text for delta in pieces) == tokenizer.decode(one.token_ids.tolist(), skip_special=True)
        assert pieces[-1].finish_reason == "length"


# The policy server in front: the same requests to both engines.


@pytest.fixture(params=["embedded", pytest.param("vllm", marks=pytest.mark.vllm)])
def engine_of_choice(request: pytest.FixtureRequest) -> Backend:
    """One engine or the other, with the same weights."""
    return request.getfixturevalue(f"{request.param}_backend")


@pytest.fixture
async def door(engine_of_choice: Backend, tokenizer: Tokenizer) -> AsyncIterator[Client]:
    """A client of a policy server over that engine."""
    settings = PolicyConfig(max_length=512, enable_thinking=False)
    async with await start(build_app(engine_of_choice, tokenizer, settings)) as served, Client(served.url) as client:
        yield client


ASK: dict[str, Any] = {"input": [{"role": "user", "content": "What is 2 + 3?"}], "seed": 1, "max_output_tokens": 12}
LOOKUP = {
    "type": "function",
    "name": "lookup",
    "parameters": {
        "type": "object",
        "properties": {"id": {"type": "integer"}},
        "required": ["id"],
        "additionalProperties": False,
    },
}


async def turn(client: Client, ask: dict[str, Any], trace: bytes = b"", known: int = 0) -> tuple[Any, Any, bytes]:
    head = json.dumps({"request": ask, "num_previous_items": known}).encode()
    answer, blob = (await client.post("/v1/responses", pack_frame(head, trace), {"Content-Type": FRAME_TYPE})).frame()
    return json.loads(bytes(answer)), decode_trace(blob), bytes(blob)


async def test_turns_make_one_trace_that_the_model_scores_alike(door: Client, first: HybridModel) -> None:
    head, trace, blob = await turn(door, ASK)
    assert head["began"] == "start"
    assert trace.loss_mask.sum() == head["response"]["usage"]["output_tokens"]
    history = [*ASK["input"], *head["response"]["output"], {"role": "user", "content": "More?"}]
    head, second, _ = await turn(door, ASK | {"input": history}, blob, len(history) - 1)
    assert head["began"] == ""
    ids = np.concatenate([trace.token_ids, second.token_ids])
    scored = (await door.post_json("/score", {"token_ids": [ids.tolist()]}))["logprobs"][0]
    told = np.concatenate([trace.logprobs, second.logprobs])
    sampled = np.concatenate([trace.loss_mask, second.loss_mask])
    assert np.abs(np.array(scored)[sampled] - told[sampled]).max() < EXACT
    with torch.no_grad():
        tokens = torch.from_numpy(ids.astype(np.int64))
        ours = first.token_logprobs(first.forward(tokens, torch.tensor([0, len(ids)]))[:-1], tokens[1:])[0].numpy()
    assert np.abs(ours - np.array(scored)[1:]).max() < EXACT


async def test_a_required_call_is_made_and_not_trained_on(door: Client) -> None:
    ask = ASK | {"tools": [LOOKUP], "tool_choice": "required", "max_output_tokens": 120, "parallel_tool_calls": False}
    head, trace, _ = await turn(door, ask)
    [call] = [item for item in head["response"]["output"] if item["type"] == "function_call"]
    assert call["name"] == "lookup"
    assert isinstance(json.loads(call["arguments"])["id"], int)
    assert head["finish_reason"] == "tool_calls"
    assert not trace.loss_mask[-4:].any()


async def test_a_schema_waits_for_the_thought_and_is_kept(door: Client) -> None:
    body = {"messages": [{"role": "user", "content": "2+3?"}], "max_tokens": 80, "seed": 2, "reasoning_budget": 6}
    body |= {"chat_template_kwargs": {"enable_thinking": True}, "logit_bias": {str(END_THINK): -100}}
    body["structured_outputs"] = {"choice": ["five"]}
    message = (await door.post_json("/v1/chat/completions", body))["choices"][0]["message"]
    assert message["content"] == "five"
    assert message["reasoning_content"]


async def test_the_forced_tag_is_nobodys_choice(door: Client) -> None:
    ask = ASK | {"chat_template_kwargs": {"enable_thinking": True}, "thinking_token_budget": 5, "ignore_eos": True}
    head, trace, _ = await turn(door, ask)
    begin = head["response"]["usage"]["input_tokens"]
    assert trace.token_ids[begin + 4] == END_THINK
    assert trace.loss_mask[begin:].tolist() == [True] * 4 + [False] + [True] * 7
    assert (trace.logprobs[begin + 4], trace.versions[begin + 4]) == (0.0, -1)


async def test_seeds_stops_and_alternatives(door: Client) -> None:
    body = {"prompt": [40, 41, 42], "max_tokens": 12, "seed": 3, "n": 2, "logprobs": 2, "return_token_ids": True}
    one = await door.post_json("/v1/completions", body | {"ignore_eos": True})
    two = await door.post_json("/v1/completions", body | {"ignore_eos": True})
    assert [c["token_ids"] for c in one["choices"]] == [c["token_ids"] for c in two["choices"]]
    assert one["choices"][0]["token_ids"] != one["choices"][1]["token_ids"]
    assert all(1 <= len(likeliest) <= 3 for likeliest in one["choices"][0]["logprobs"]["top_logprobs"])
    third = one["choices"][0]["token_ids"][2]
    stopped = (await door.post_json("/v1/completions", body | {"stop_token_ids": [third]}))["choices"][0]
    assert stopped["token_ids"][-1] == third == stopped["stop_reason"]
    assert (len(stopped["token_ids"]), stopped["finish_reason"]) == (3, "stop")


async def test_a_stop_string_cuts_the_text(door: Client) -> None:
    body = {"prompt": "say", "max_tokens": 40, "temperature": 0.0, "ignore_eos": True, "logit_bias": {}}
    text = (await door.post_json("/v1/completions", body))["choices"][0]["text"]
    stop = text[6:8]
    choice = (await door.post_json("/v1/completions", body | {"stop": stop}))["choices"][0]
    assert choice["text"] == text[: text.index(stop)]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"prompt": [40] * 600}, "prompt"),
        ({"prompt": [99999]}, "prompt"),
        ({"prompt": [40], "temperature": -1}, "temperature"),
        ({"prompt": [40], "top_p": 0}, "top_p"),
        ({"prompt": [40], "guided_json": {"type": "nothing"}}, "guided_json"),
    ],
)
async def test_what_is_wrong_is_refused_with_the_same_field(door: Client, body: dict[str, Any], field: str) -> None:
    reply = await door.post("/v1/completions", body, check=False)
    assert (reply.status, reply.json(Any)["error"]["param"]) == (400, field)


async def test_events_of_a_chat_are_its_answer(door: Client) -> None:
    body = {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 16, "seed": 4, "ignore_eos": True}
    whole = (await door.post_json("/v1/chat/completions", body))["choices"][0]["message"]["content"]
    events = [event async for event in door.events("/v1/chat/completions", body | {"stream": True})]
    assert events[-1] == b"[DONE]"
    pieces = [json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events[:-1]]
    assert "".join(pieces) == whole


# New weights. Versions only go up, so every test publishes the next one; the last publication of each is the first's.

Publish = Callable[..., Any]


@pytest.fixture
async def publish(
    vllm_backend: VllmBackend, tmp_path: Path, first: HybridModel
) -> AsyncIterator[Callable[[HybridModel], Any]]:
    async def take(model: HybridModel, name: str = "weights") -> dict[str, str]:
        tensors = {name: tensor.clone().contiguous() for name, tensor in checkpoint.state_tensors(model)}
        file = tmp_path / f"{name}.safetensors"
        save_file(tensors, file)
        sums = checkpoint.checksum(tensors.items())
        assert await vllm_backend.load_weights(str(file), vllm_backend.version + 1, sums) == sums
        return sums

    yield take
    await rpc(vllm_backend, "heal")
    vllm_backend._updates.version += 1  # a failed publication may have taken the next number in vLLM
    await take(first)


async def rpc(backend: VllmBackend, method: str, *args: str) -> None:
    await backend._client.post("/collective_rpc", {"method": method, "args": list(args)})


async def test_a_running_sample_goes_on_under_new_weights(
    vllm_backend: VllmBackend, publish: Publish, first: HybridModel, distinct: MakeModel
) -> None:
    other = distinct(first.config.vocab_size, 2)
    began = asyncio.Event()
    request = GenerateRequest(prompt_token_ids=[40, 41], max_tokens=400, ignore_eos=True, seed=1)
    request.on_delta = lambda _: began.set()
    running = asyncio.create_task(vllm_backend.generate(request))
    await began.wait()
    before = vllm_backend.version
    await publish(other)
    [sample] = (await running).samples
    assert sorted(set(sample.versions.tolist())) == [before, before + 1]
    assert (np.diff(sample.versions) >= 0).all()
    new = sample.versions == before + 1
    # what came after the switch is scored by the new weights over the whole history: its cache was computed again
    assert np.abs(logprobs(other, [40, 41], sample) - sample.logprobs)[new].max() < EXACT
    assert np.abs(logprobs(first, [40, 41], sample) - sample.logprobs)[~new].max() < EXACT


async def test_cached_prefixes_of_older_weights_are_not_used(
    vllm_backend: VllmBackend, publish: Publish, first: HybridModel, distinct: MakeModel
) -> None:
    ids = prompt(300, 10, first.config.vocab_size)
    request = GenerateRequest(prompt_token_ids=ids, max_tokens=8, ignore_eos=True, seed=1)
    await vllm_backend.generate(request)
    assert (await vllm_backend.generate(request)).num_cached
    other = distinct(first.config.vocab_size, 3)
    await publish(other)
    after = await vllm_backend.generate(request)
    assert after.num_cached == 0
    assert np.abs(logprobs(other, ids, after.samples[0]) - after.samples[0].logprobs).max() < EXACT


@pytest.mark.parametrize("fault", ["stale conv", "dropped bias", "rounded bias", "swapped experts"])
async def test_a_planted_fault_is_caught_and_nothing_is_sampled_from_it(
    vllm_backend: VllmBackend, publish: Publish, first: HybridModel, distinct: MakeModel, fault: str
) -> None:
    await rpc(vllm_backend, "plant", fault)
    with pytest.raises(PolicyFault, match="are not the published ones"):
        await publish(distinct(first.config.vocab_size, 4))
    with pytest.raises(PolicyFault, match="did not arrive"):
        await vllm_backend.generate(GenerateRequest(prompt_token_ids=[40], max_tokens=1))


async def test_weights_that_do_not_fit_are_refused_and_the_old_ones_stay(
    vllm_backend: VllmBackend, tmp_path: Path, first: HybridModel
) -> None:
    request = GenerateRequest(prompt_token_ids=[40, 41], max_tokens=8, ignore_eos=True, seed=1)
    before = await vllm_backend.generate(request)
    tensors = {name: tensor.clone().contiguous() for name, tensor in checkpoint.state_tensors(first)}
    del tensors["backbone.norm_f.weight"]
    save_file(tensors, tmp_path / "short.safetensors")
    with pytest.raises(Conflict, match=r"backbone\.norm_f\.weight is missing"):
        await vllm_backend.load_weights(str(tmp_path / "short.safetensors"), vllm_backend.version + 1, {})
    after = await vllm_backend.generate(request)
    assert after.samples[0].token_ids.tolist() == before.samples[0].token_ids.tolist()


async def test_the_server_tells_it_is_there(vllm_process: VllmProcess) -> None:
    vllm_process.require_ready()
    assert vllm_process.pid is not None
    assert vllm_process.num_restarts == 0
