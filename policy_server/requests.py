"""What is asked of a backend and what it answers: token ids in, sampled token ids with log-probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from policy_server.grammar import Constraint

FinishReason = Literal["stop", "length"]


@dataclass(slots=True, frozen=True)
class Delta:
    """What one step added to a streamed sample; `finish_reason` is empty until its last one."""

    index: int
    token_ids: list[int]
    logprobs: list[float]
    text: str = ""
    finish_reason: str = ""


@dataclass(slots=True, kw_only=True)
class GenerateRequest:
    """`n` samples of one prompt.

    prompt_token_ids i32[t]; `max_tokens` None means up to the end of the context; temperature 0 is greedy; `stop`
    strings end a sample once its text holds one; `stop_token_ids` come on top of the engine's own; sample i draws with
    seed + i (None: fresh randomness); smaller `priority` goes first; `deadline_s` counts from the call.
    `constraint` holds the answer to a grammar; `presence_penalty`, `frequency_penalty` and `logit_bias` are OpenAI's.
    `thinking_open`: the prompt ends inside a thought; `thinking_budget`: tokens a sample may think, with
    `</think>`; `single_call`: after a first tool call none is begun. `num_top_logprobs` alternatives are told for
    every token, and with `routed_experts` where it was sent.
    Hints for the engine: `keep`, a further turn may continue this one; `known_tokens`, how much of the prompt is an
    earlier turn's trace; `shared_tokens`, how much of it other prompts have too (the system block).
    `on_delta` is called on the event loop after every step.
    """

    prompt_token_ids: Sequence[int] | np.ndarray
    n: int = 1
    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    stop: Sequence[str] = ()
    stop_token_ids: Sequence[int] = ()
    ignore_eos: bool = False
    seed: int | None = None
    priority: int = 0
    deadline_s: float | None = None
    constraint: Constraint | None = None
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    thinking_open: bool = False
    thinking_budget: int | None = None
    num_top_logprobs: int = 0
    routed_experts: bool = False
    single_call: bool = False
    keep: bool = False
    known_tokens: int = 0
    shared_tokens: int = 0
    on_delta: Callable[[Delta], None] | None = None


SAMPLED, STEERED, FORCED = 0, 1, 2
"""Where a token came from: the policy's own distribution; that distribution held to a grammar or penalised, so that
what was drawn is no sample of the policy; nothing else was possible, or the thinking budget was used up."""


@dataclass(slots=True, kw_only=True)
class Sample:
    """One sampled continuation.

    token_ids i32[t], the stop token included; logprobs f32[t] of log-softmax(logits / temperature), the policy's own:
    before penalties, grammar and top-p (temperature 1 when greedy); origin u8[t], None where all are `SAMPLED`;
    top_logprobs [(token, logprob), …] a token, likeliest first, where asked for;
    versions i32[t], the policy version that sampled each token;
    routed_experts i16[p + t, MoE layers, k] of the prompt's tokens and these, where asked for, -1 where not known (the
    last one was never read);
    `stop_reason`, the stop string or the stop token id. `text` is set by backends that answer with text, and then cut
    before the stop string; `exact` is False where the ids were made from that text instead of sampled.
    """

    token_ids: np.ndarray
    logprobs: np.ndarray
    versions: np.ndarray
    finish_reason: FinishReason
    stop_reason: int | str | None = None
    text: str | None = None
    exact: bool = True
    origin: np.ndarray | None = None
    top_logprobs: list[list[tuple[int, float]]] | None = None
    routed_experts: np.ndarray | None = None

    @property
    def loss_mask(self) -> np.ndarray:
        """bool[t]: tokens that may be trained on, those drawn from the policy's own distribution."""
        if self.origin is None or not self.exact:
            return np.full(len(self.token_ids), self.exact)
        return self.origin == SAMPLED


@dataclass(slots=True, kw_only=True)
class GenerateResult:
    """The samples of a request in order; `prompt_token_ids` as the backend took them, the first `num_cached` of which
    needed no computation."""

    samples: list[Sample] = field(default_factory=list)
    prompt_token_ids: np.ndarray
    num_cached: int = 0


@runtime_checkable
class WeightHolder(Protocol):
    """A backend that takes new weights and scores given tokens, although its model is in another process."""

    async def load_weights(self, path: str, version: int, checksums: Mapping[str, str]) -> dict[str, str]:
        """As `policy_server.weights.load_weights`."""
        ...

    async def score(self, sequences: list[list[int]]) -> tuple[list[np.ndarray], int]:
        """As `policy_server.score.score`."""
        ...


class Backend(Protocol):
    """What `policy_server.app` needs of whoever samples."""

    model_name: str
    max_length: int

    @property
    def version(self) -> int:
        """The policy version that new tokens are sampled with."""
        ...

    async def generate(self, request: GenerateRequest) -> GenerateResult:
        """Sample. Cancelling the awaiting task takes the request back and frees what it held."""
        ...

    async def close(self) -> None:
        """Stop; whoever waits gets `Unavailable`."""
        ...
