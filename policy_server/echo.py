"""`echo` of raw completions: the prompt before each answer, scored where log-probabilities are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gym_core.errors import BadRequest
from policy_server.engine import Engine
from policy_server.prompts import Prompts
from policy_server.requests import Backend, GenerateResult, Sample, WeightHolder
from policy_server.score import score


@dataclass(slots=True, frozen=True)
class Echo:
    """A prompt to repeat: its text, ids i64[t], and log-probabilities f32[t] (the first of them is of no meaning)."""

    text: str
    token_ids: np.ndarray
    logprobs: np.ndarray | None


async def echo_of(backend: Backend, tokens: list[np.ndarray], prompts: Prompts, scored: bool) -> list[Echo]:
    """The prompts of one request. Raises `BadRequest` where scores are wanted and the backend has none."""
    scores: list[np.ndarray | None] = [None] * len(tokens)
    if scored:
        given = [ids.tolist() for ids in tokens]
        if isinstance(backend, WeightHolder):
            scores = list((await backend.score(given))[0])
        elif isinstance(backend, Engine):
            scores = list((await score(backend, given))[0])
        else:
            raise BadRequest("this server forwards to an upstream and cannot score a prompt", field="echo")
    return [Echo(prompts.text(ids), ids, found) for ids, found in zip(tokens, scores, strict=True)]


NOTHING = Sample(
    token_ids=np.zeros(0, np.int32),
    logprobs=np.zeros(0, np.float32),
    versions=np.zeros(0, np.int32),
    finish_reason="length",
    exact=False,
)
"""A sample of no tokens."""


def unsampled(tokens: list[np.ndarray], n: int) -> list[GenerateResult]:
    """The results of a request that only wants its prompts back (`max_tokens` 0)."""
    return [GenerateResult(prompt_token_ids=ids, samples=[NOTHING] * n) for ids in tokens]
