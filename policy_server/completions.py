"""OpenAI's completions: raw prompts, as text or token ids, to choices."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

import numpy as np

from gym_core.errors import BadRequest
from policy_server.answers import fresh_id
from policy_server.chat_completions import usage_of
from policy_server.config import PolicyConfig
from policy_server.params import SamplingParams, refuse
from policy_server.prompts import Prompts
from policy_server.requests import Backend, GenerateRequest, GenerateResult, Sample
from policy_server.watch import cut_at


class CompletionParams(SamplingParams, kw_only=True):
    """Create parameters that this server reads; other fields of the API are ignored."""

    prompt: str | list[str | int | list[int]]
    max_tokens: int | None = None
    n: int | None = None
    best_of: int | None = None
    logprobs: int | None = None
    echo: bool | None = None
    suffix: str | None = None
    return_tokens_as_token_ids: bool | None = None
    stream_options: dict[str, Any] | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None


def generate_request(params: CompletionParams, config: PolicyConfig, deadline_s: float) -> GenerateRequest:
    """Sampling of these create parameters."""
    return params.request(config, deadline_s, n=1 if params.n is None else params.n, max_tokens=params.max_tokens)


def prompts_of(params: CompletionParams, prompts: Prompts) -> list[np.ndarray]:
    """i64[t] of every prompt. Control names in text are meant: this is the raw door."""
    refuse(params, echo=(False,), suffix=("",), presence_penalty=(0,), frequency_penalty=(0,), logit_bias=({},))
    refuse(params, best_of=(params.n or 1,))
    given = params.prompt
    many = given if isinstance(given, list) and given and isinstance(given[0], str | list) else [given]
    return [_tokens(prompt, f"prompt[{i}]" if len(many) > 1 else "prompt", prompts) for i, prompt in enumerate(many)]


def _tokens(prompt: Any, field: str, prompts: Prompts) -> np.ndarray:
    if isinstance(prompt, str):
        return np.array(prompts.tokenizer.encode(prompt), np.int64)
    if isinstance(prompt, list) and all(type(token) is int for token in prompt):
        return np.array(prompt, np.int64)
    raise BadRequest("a prompt is text or a list of token ids", field=field)


async def complete(backend: Backend, tokens: list[np.ndarray], request: GenerateRequest) -> list[GenerateResult]:
    """Sample for all prompts at once; prompt i draws with seed + i * n. One failure takes the others back."""
    requests = [
        replace(request, prompt_token_ids=ids, seed=None if request.seed is None else request.seed + number * request.n)
        for number, ids in enumerate(tokens)
    ]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(backend.generate(each)) for each in requests]
    except* Exception as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def completion_object(
    results: list[GenerateResult], params: CompletionParams, model: str, prompts: Prompts
) -> dict[str, Any]:
    """The text_completion object; choices of one prompt after the other."""
    choices = [(result, sample) for result in results for sample in result.samples]
    num_prompt = sum(len(result.prompt_token_ids) for result in results)
    num_sampled = sum(len(sample.token_ids) for _, sample in choices)
    return {
        "id": fresh_id("cmpl"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [_choice(i, result, sample, params, prompts) for i, (result, sample) in enumerate(choices)],
        "usage": usage_of(num_prompt, num_sampled),
    }


def _choice(
    index: int, result: GenerateResult, sample: Sample, params: CompletionParams, prompts: Prompts
) -> dict[str, Any]:
    choice: dict[str, Any] = {
        "index": index,
        "text": text_of(sample, prompts),
        "finish_reason": sample.finish_reason,
        "stop_reason": sample.stop_reason,
        "logprobs": None if params.logprobs is None else logprob_columns(sample, params, prompts),
    }
    if params.return_token_ids:
        choice["prompt_token_ids"] = np.asarray(result.prompt_token_ids).tolist()
        choice["token_ids"] = sample.token_ids.tolist()
        if sample.exact:
            choice["generation_token_ids"] = choice["token_ids"]
            choice["generation_log_probs"] = sample.logprobs.tolist()
            choice["policy_version"] = int(sample.versions[-1])
    return choice


def text_of(sample: Sample, prompts: Prompts) -> str:
    """The sample's text without special tokens, cut before the stop string."""
    return sample.text if sample.text is not None else cut_at(prompts.text(sample.token_ids), sample.stop_reason)


def logprob_columns(sample: Sample, params: CompletionParams, prompts: Prompts) -> dict[str, Any]:
    """Log-probabilities as the completions API has them: parallel columns, no alternatives."""
    ids = sample.token_ids.tolist()
    texts = [prompts.tokenizer.token_bytes(token).decode("utf-8", "replace") for token in ids]
    offsets = np.cumsum([0, *map(len, texts)])[:-1].tolist() if texts else []
    return {
        "tokens": [f"token_id:{token}" for token in ids] if params.return_tokens_as_token_ids else texts,
        "token_logprobs": sample.logprobs.tolist(),
        "top_logprobs": None,
        "text_offset": offsets,
    }
