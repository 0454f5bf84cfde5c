"""The engine over the real hybrid: what it says of its tokens is what the full forward says."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from gym_core.errors import BadRequest
from model import checkpoint
from model.config import HybridConfig
from model.stack import HybridModel
from model.tokenizer import Tokenizer
from policy_server.config import PolicyConfig
from policy_server.engine import Engine
from policy_server.launch import open_backend
from policy_server.requests import GenerateRequest, Sample
from policy_server.score import score
from policy_server.weights import WeightsParams, load_weights, served_checksums


def full(hybrid: HybridModel, ids: list[int], temperature: float = 1.0) -> np.ndarray:
    """log p of every token after the first under the full forward."""
    tokens = torch.tensor(ids)
    with torch.no_grad():
        logits = hybrid.logits(hybrid.forward(tokens, torch.tensor([0, len(ids)]))[:-1]) / temperature
    return logits.log_softmax(-1).gather(1, tokens[1:, None]).squeeze(1).numpy()


def ask(prompt: list[int], **fields: object) -> GenerateRequest:
    return GenerateRequest(prompt_token_ids=prompt, **{"max_tokens": 24, "ignore_eos": True, **fields})  # type: ignore[arg-type]  # any field


def agrees(hybrid: HybridModel, prompt: list[int], sample: Sample, temperature: float = 1.0) -> bool:
    want = full(hybrid, [*prompt, *sample.token_ids.tolist()], temperature)[len(prompt) - 1 :]
    return bool(np.abs(sample.logprobs - want).max() < 1e-5)


async def test_sampling_says_what_the_full_forward_says(hybrid_engine: Engine, hybrid: HybridModel) -> None:
    prompts = [list(range(20, 20 + length)) for length in (1, 2, 3, 31, 32, 33, 70)]
    temperatures = [1.0, 0.7, 1.3, 1.0, 1.0, 0.5, 1.0]
    requests = [ask(p, seed=i, temperature=t, n=2) for i, (p, t) in enumerate(zip(prompts, temperatures, strict=True))]
    results = await asyncio.gather(*map(hybrid_engine.generate, requests))
    for prompt, temperature, result in zip(prompts, temperatures, results, strict=True):
        assert all(agrees(hybrid, prompt, sample, temperature) for sample in result.samples)


async def test_three_turns_over_kept_state(hybrid_engine: Engine, hybrid: HybridModel) -> None:
    trace: list[int] = []
    for number in range(3):
        prompt = [*trace, *range(30 + number, 40 + 3 * number)]
        request = ask(prompt, seed=number, keep=True, known_tokens=len(trace))
        result = await hybrid_engine.generate(request)
        sample = result.samples[0]
        assert agrees(hybrid, prompt, sample)
        assert result.num_cached == max(0, len(trace) - 1)
        trace = [*prompt, *sample.token_ids.tolist()]
    assert hybrid_engine.stats["prefix_hits"] == 2


async def test_n_samples_equal_n_requests(hybrid_engine: Engine) -> None:
    prompt = list(range(40, 60))
    together = await hybrid_engine.generate(ask(prompt, n=8, seed=50))
    apart = await asyncio.gather(*(hybrid_engine.generate(ask(prompt, seed=50 + i)) for i in range(8)))
    for one, other in zip(together.samples, apart, strict=True):
        assert one.token_ids.tolist() == other.samples[0].token_ids.tolist()


async def test_scores_agree_with_sampling(hybrid_engine: Engine) -> None:
    prompt = list(range(40, 60))
    sample = (await hybrid_engine.generate(ask(prompt, seed=1))).samples[0]
    scores, _ = await score(hybrid_engine, [[*prompt, *sample.token_ids.tolist()], [30, 31, 32]])
    assert np.abs(scores[0][20:] - sample.logprobs).max() < 1e-5


async def test_published_weights_are_the_ones_that_sample(
    hybrid_engine: Engine, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    other = HybridModel(HybridConfig.tiny(tokenizer.vocab_size), seed=2)
    tensors = {name: tensor.contiguous().clone() for name, tensor in checkpoint.state_tensors(other)}
    save_file(tensors, tmp_path / "model.safetensors")
    checksums = checkpoint.checksum(tensors.items())
    prompt = list(range(40, 60))
    await hybrid_engine.generate(ask(prompt, seed=1, keep=True))
    await load_weights(hybrid_engine, WeightsParams(path=str(tmp_path), version=5, checksums=checksums))
    assert await hybrid_engine.between_steps(lambda: served_checksums(hybrid_engine)) == checksums
    sample = (await hybrid_engine.generate(ask(prompt, seed=1))).samples[0]
    assert agrees(other, prompt, sample)
    assert set(sample.versions.tolist()) == {5}


async def test_from_a_checkpoint_folder(hybrid: HybridModel, tokenizer: Tokenizer, tmp_path: Path) -> None:
    checkpoint.save_pretrained(hybrid, tmp_path / "saved", also=tokenizer.save)
    config = PolicyConfig(checkpoint=str(tmp_path / "saved"), num_slots=2, max_length=64, num_prefixes=0)
    backend, _ = open_backend(config)
    sample = (await backend.generate(ask([40, 41, 42], seed=3))).samples[0]
    await backend.close()
    assert agrees(hybrid, [40, 41, 42], sample)


@pytest.mark.parametrize("what", ["nowhere", "no model"])
async def test_a_folder_without_a_checkpoint_is_refused(tokenizer: Tokenizer, tmp_path: Path, what: str) -> None:
    if what == "no model":
        tokenizer.save(tmp_path)
    folder = tmp_path if what == "no model" else tmp_path / "nowhere"
    with pytest.raises(BadRequest) as caught:
        open_backend(PolicyConfig(checkpoint=str(folder)))
    assert caught.value.field == "checkpoint"


async def test_an_upstream_needs_an_address(tokenizer: Tokenizer, tmp_path: Path) -> None:
    tokenizer.save(tmp_path)
    with pytest.raises(BadRequest) as caught:
        open_backend(PolicyConfig(backend="upstream", checkpoint=str(tmp_path)))
    assert caught.value.field == "upstream_url"


async def test_a_chat_upstream_needs_no_tokenizer_and_a_token_upstream_does() -> None:
    config = PolicyConfig(backend="upstream", upstream_url="http://127.0.0.1:9", upstream_model="big")
    backend, tokenizer = open_backend(config)
    await backend.close()
    assert tokenizer.decode(tokenizer.encode("naïve")) == "naïve"
    with pytest.raises(BadRequest) as caught:
        open_backend(msgspec.structs.replace(config, upstream_api="completions"))
    assert caught.value.field == "checkpoint"
