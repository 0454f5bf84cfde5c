"""vLLM's token route, POST /inference/v1/generate: what is asked of it and what it answers, as records."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from gym_core.errors import PolicyFault
from policy_server.grammar import lark
from policy_server.requests import FORCED, STEERED, GenerateRequest, Sample
from policy_server.steering import Steering

GENERATE = "/inference/v1/generate"
_NEVER = -100.0
"""vLLM takes biases of -100 to 100; the embedded engine's minus infinity becomes its least."""


class Alternative(msgspec.Struct, gc=False):
    token_id: int
    logprob: float
    rank: int | None = None


class Entry(msgspec.Struct, gc=False):
    """A sampled token and the likeliest ones beside it."""

    token_id: int
    logprob: float
    top_logprobs: list[Alternative] = []


class Logprobs(msgspec.Struct, gc=False):
    content: list[Entry] | None = None


class VersionSpan(msgspec.Struct, gc=False):
    """Output tokens [start, end) were sampled by the weights of `version`."""

    version: str
    start: int
    end: int


class Choice(msgspec.Struct):
    index: int
    token_ids: list[int] | None = None
    logprobs: Logprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    weight_versions: list[VersionSpan] | None = None


class PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None


class Usage(msgspec.Struct):
    prompt_tokens_details: PromptDetails | None = None


class Scored(msgspec.Struct, gc=False):
    logprob: float


class Reply(msgspec.Struct):
    """A whole answer, or one event of a stream."""

    choices: list[Choice] = []
    usage: Usage | None = None
    prompt_logprobs: list[dict[str, Scored] | None] | None = None

    @property
    def num_cached(self) -> int:
        details = self.usage.prompt_tokens_details if self.usage else None
        return (details.cached_tokens or 0) if details else 0


_replies = msgspec.json.Decoder(Reply)


def read_reply(body: bytes) -> Reply:
    """Raises `PolicyFault` naming what is not as agreed."""
    try:
        return _replies.decode(body)
    except msgspec.DecodeError as error:  # a reply of another shape is one too
        raise PolicyFault(f"vLLM's reply to {GENERATE} is not as agreed: {error}", stage="upstream") from None


def generate_body(
    request: GenerateRequest, prompt: np.ndarray, max_tokens: int, stop_ids: frozenset[int]
) -> dict[str, Any]:
    """The request in vLLM's words. Its own end of sequence is left out: `stop_ids` are the policy's."""
    sampling: dict[str, Any] = {
        "n": request.n,
        "max_tokens": max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "logprobs": request.num_top_logprobs,
        "ignore_eos": True,
        "stop_token_ids": sorted({*request.stop_token_ids, *(() if request.ignore_eos else stop_ids)}),
        "detokenize": bool(request.stop),
    }
    if request.stop:
        sampling |= {"stop": list(request.stop), "skip_special_tokens": True}
    if request.seed is not None:
        sampling["seed"] = request.seed
    for name in ("presence_penalty", "frequency_penalty"):
        if amount := getattr(request, name):
            sampling[name] = amount
    if request.logit_bias:
        sampling["logit_bias"] = {
            str(token): amount if math.isfinite(amount) else _NEVER for token, amount in request.logit_bias.items()
        }
    if request.constraint is not None:
        sampling["structured_outputs"] = {"grammar": lark(request.constraint)}
    if request.thinking_budget is not None:
        opened = int(request.thinking_open)
        sampling["extra_args"] = {"thinking_budget": request.thinking_budget, "thinking_open": opened}
    body = {"token_ids": prompt.tolist(), "sampling_params": sampling, "priority": 0}
    if request.constraint is not None:
        body["reasoning_ended"] = not request.thinking_open
    return body


class Joined:
    """One sample of a reply, whole or in pieces."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.entries: list[Entry] = []
        self.spans: list[VersionSpan] = []
        self.finish_reason: str | None = None
        self.stop_reason: int | str | None = None

    def add(self, choice: Choice) -> list[int]:
        """Take a piece; returns its tokens. Raises `PolicyFault` where they do not pair up with log-probabilities."""
        ids = choice.token_ids or []
        entries = (choice.logprobs.content if choice.logprobs else None) or []
        if [entry.token_id for entry in entries] != ids:
            raise PolicyFault("vLLM's log-probabilities are not those of its tokens", stage="upstream")
        self.ids += ids
        self.entries += entries
        self.spans = choice.weight_versions or self.spans  # told with the last piece, over the whole sample
        if choice.finish_reason is not None:
            self.finish_reason, self.stop_reason = choice.finish_reason, choice.stop_reason
        return ids

    def sample(self, request: GenerateRequest, first_version: int) -> Sample:
        """A version that is no number of ours is that of the weights vLLM began with.

        Raises `PolicyFault` for a sample that vLLM gave up (`abort`, `error`), or whose versions it does not tell.
        """
        if self.finish_reason not in ("stop", "length"):
            raise PolicyFault(f"vLLM ended the sample with {self.finish_reason!r}", stage="generate")
        ids = np.array(self.ids, np.int32)
        stopped = self.finish_reason == "stop"
        top = [_likeliest(entry, request.num_top_logprobs) for entry in self.entries]
        return Sample(
            token_ids=ids,
            logprobs=np.fromiter((entry.logprob for entry in self.entries), np.float32, len(ids)),
            versions=_versions(self.spans, len(ids), first_version),
            finish_reason="stop" if stopped else "length",
            stop_reason=(self.stop_reason if self.stop_reason is not None else int(ids[-1])) if stopped else None,
            origin=origin_of(ids, request),
            top_logprobs=top if request.num_top_logprobs else None,
        )


def origin_of(ids: np.ndarray, request: GenerateRequest) -> np.ndarray | None:
    """u8[t], None where all are sampled: forced tags found by counting as the budget does; under a grammar, a bias or a
    penalty vLLM does not tell which tokens were moved, so none of them is taken for sampled."""
    held = request.constraint is not None or request.presence_penalty or request.frequency_penalty
    moved = bool(held or request.logit_bias)
    origin = np.full(len(ids), STEERED if moved else 0, np.uint8)
    if request.thinking_budget is not None:
        steering = Steering(request, None)
        for place, token in enumerate(ids.tolist()):
            if steering.must_close:
                origin[place] = FORCED
            steering.push(token)
    return origin if origin.any() else None


def _versions(spans: Iterable[VersionSpan], count: int, first_version: int) -> np.ndarray:
    """i32[t], one policy version a token."""
    versions, known = np.zeros(count, np.int32), np.zeros(count, np.bool_)
    for span in spans:
        versions[span.start : span.end] = int(span.version) if span.version.isdecimal() else first_version
        known[span.start : span.end] = True
    if not known.all():
        raise PolicyFault("vLLM does not say which weights sampled its tokens", stage="upstream")
    return versions


def _likeliest(entry: Entry, wanted: int) -> list[tuple[int, float]]:
    """The alternatives by rank; the sampled token is among them only where it is one of the likeliest."""
    ranked = [(one.rank, one.token_id, one.logprob) for one in entry.top_logprobs if one.rank and one.rank <= wanted]
    return [(token, logprob) for _, token, logprob in sorted(ranked)][:wanted]
