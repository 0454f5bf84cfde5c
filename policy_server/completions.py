"""OpenAI's completions: raw prompts, as text or token ids, to choices."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gym_core.errors import BadRequest
from model.control_tokens import END_THINK, THINK
from policy_server.answers import fresh_id
from policy_server.chat_completions import usage_of
from policy_server.config import PolicyConfig
from policy_server.echo import Echo
from policy_server.params import SamplingParams, num_alternatives
from policy_server.prompts import Prompts
from policy_server.requests import Backend, GenerateRequest, GenerateResult, Sample
from policy_server.unserved import refuse
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


@dataclass(slots=True, frozen=True)
class Asked:
    """A request as it is streamed: its prompts i64[t], sampling, and what of the prompts is repeated."""

    prompts: list[np.ndarray]
    generate: GenerateRequest
    params: CompletionParams
    echoes: list[Echo] | None = None

    @property
    def samples_nothing(self) -> bool:
        """Whether only the prompts are wanted."""
        return bool(self.params.echo) and self.params.max_tokens == 0


def generate_request(params: CompletionParams, config: PolicyConfig, deadline_s: float) -> GenerateRequest:
    """Sampling of these create parameters. Raises `BadRequest` naming the field."""
    wanted = 1 if params.echo and params.max_tokens == 0 else params.max_tokens
    request = params.request(config, deadline_s, n=1 if params.n is None else params.n, max_tokens=wanted)
    request.num_top_logprobs = num_alternatives(params.logprobs, "logprobs")
    request.thinking_budget = params.reasoning_budget if request.thinking_budget is None else request.thinking_budget
    return request


def prompts_of(params: CompletionParams, prompts: Prompts) -> list[np.ndarray]:
    """i64[t] of every prompt. Control names in text are meant: this is the raw door."""
    refuse(params, {"suffix": ("",), "best_of": (params.n or 1,)})
    given = params.prompt
    many = given if isinstance(given, list) and given and isinstance(given[0], str | list) else [given]
    return [_tokens(prompt, f"prompt[{i}]" if len(many) > 1 else "prompt", prompts) for i, prompt in enumerate(many)]


def _tokens(prompt: Any, field: str, prompts: Prompts) -> np.ndarray:
    if isinstance(prompt, str):
        return np.array(prompts.tokenizer.encode(prompt), np.int64)
    if isinstance(prompt, list) and all(type(token) is int and abs(token) < 1 << 31 for token in prompt):
        return np.array(prompt, np.int64)
    raise BadRequest("a prompt is text or a list of token ids", field=field)


async def complete(backend: Backend, tokens: list[np.ndarray], request: GenerateRequest) -> list[GenerateResult]:
    """Sample for all prompts at once; prompt i draws with seed + i * n. One failure takes the others back."""
    requests = [
        replace(
            request,
            prompt_token_ids=ids,
            seed=None if request.seed is None else request.seed + number * request.n,
            thinking_open=is_thinking(ids),
        )
        for number, ids in enumerate(tokens)
    ]
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(backend.generate(each)) for each in requests]
    except* Exception as errors:
        raise errors.exceptions[0] from None
    return [task.result() for task in tasks]


def is_thinking(token_ids: np.ndarray) -> bool:
    """Whether a prompt ends inside a thought: its last think tag is an opening one."""
    tags = token_ids[(token_ids == THINK) | (token_ids == END_THINK)]
    return len(tags) > 0 and int(tags[-1]) == THINK


def completion_object(
    results: list[GenerateResult],
    params: CompletionParams,
    model: str,
    prompts: Prompts,
    echoes: Sequence[Echo] | None = None,
) -> dict[str, Any]:
    """The text_completion object; choices of one prompt after the other, behind their prompt where `echoes` has it."""
    before = [None] * len(results) if echoes is None else echoes
    choices = [(r, sample, echo) for r, echo in zip(results, before, strict=True) for sample in r.samples]
    num_prompt = sum(len(result.prompt_token_ids) for result in results)
    num_sampled = sum(len(sample.token_ids) for _, sample, _ in choices)
    return {
        "id": fresh_id("cmpl"),
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": [_choice(i, *choice, params, prompts) for i, choice in enumerate(choices)],
        "usage": usage_of(num_prompt, num_sampled),
    }


def _choice(
    index: int, result: GenerateResult, sample: Sample, echo: Echo | None, params: CompletionParams, prompts: Prompts
) -> dict[str, Any]:
    choice: dict[str, Any] = {
        "index": index,
        "text": ("" if echo is None else echo.text) + text_of(sample, prompts),
        "finish_reason": sample.finish_reason,
        "stop_reason": sample.stop_reason,
        "logprobs": None if params.logprobs is None else logprob_columns(sample, params, prompts, echo),
    }
    return choice | tokens_of(result.prompt_token_ids, sample, params)


def tokens_of(prompt: np.ndarray, sample: Sample, params: CompletionParams) -> dict[str, Any]:
    """The token ids of a choice and what trains on them, where they are asked for; `prompt` is i64[t]."""
    told: dict[str, Any] = {}
    if params.return_token_ids:
        told["prompt_token_ids"] = np.asarray(prompt).tolist()
        told["token_ids"] = sample.token_ids.tolist()
        if sample.exact:
            told["generation_token_ids"] = told["token_ids"]
            told["generation_log_probs"] = sample.logprobs.tolist()
            told["policy_version"] = int(sample.versions[-1])
            if not sample.loss_mask.all():
                told["generation_loss_mask"] = sample.loss_mask.astype(int).tolist()
    if sample.routed_experts is not None:
        told["routed_experts"] = sample.routed_experts.tolist()
    return told


def text_of(sample: Sample, prompts: Prompts) -> str:
    """The sample's text without special tokens, cut before the stop string."""
    return sample.text if sample.text is not None else cut_at(prompts.text(sample.token_ids), sample.stop_reason)


def logprob_columns(
    sample: Sample, params: CompletionParams, prompts: Prompts, echo: Echo | None = None
) -> dict[str, Any]:
    """Log-probabilities as the completions API has them: parallel columns; those of an echoed prompt come first."""

    def text(token: int) -> str:
        return prompts.tokenizer.token_bytes(token, sampled=True).decode("utf-8", "replace")

    def name(token: int) -> str:
        return f"token_id:{token}" if params.return_tokens_as_token_ids else text(token)

    ids: list[int] = sample.token_ids.tolist()
    logprobs: list[float | None] = sample.logprobs.tolist()
    told: list[list[tuple[int, float]] | None] = list(sample.top_logprobs or [])
    if echo is not None and echo.logprobs is not None:
        ids = [*echo.token_ids.tolist(), *ids]
        logprobs = [None, *echo.logprobs.tolist()[1:], *logprobs]
        told = [*[None] * len(echo.token_ids), *told]
    top = [None if pairs is None else {name(token): value for token, value in pairs} for pairs in told]
    return {
        "tokens": [name(token) for token in ids],
        "token_logprobs": logprobs,
        "top_logprobs": top if params.logprobs else None,
        "text_offset": np.cumsum([0, *(len(text(token)) for token in ids)])[:-1].tolist() if ids else [],
    }
