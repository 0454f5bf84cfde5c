"""Which experts each token was sent to, told to learners that replay the routing (2510.11370).

    prefill, decode ─▶ Recorder ─▶ [t, MoE layers, k] of a prompt and its answer, row i of token i as it was read

A row is `UNKNOWN` where a token was never read (the last one of an answer) or was read for somebody who did not ask
(kept prefixes): the learner chooses there itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

from gym_core.errors import BadRequest
from gym_core.tokens import MAX_EXPERTS
from model.config import MOE
from model.routing import record_experts
from policy_server.requests import GenerateRequest

UNKNOWN = -1


def require_experts(model: Any) -> None:
    """Raises `BadRequest` for a model whose experts cannot be told."""
    config = model.config
    if not config.layer_indices(MOE):
        raise BadRequest("this model has no experts to tell", field="return_routed_experts")
    if config.n_routed_experts > MAX_EXPERTS:
        raise BadRequest(
            f"experts are told as one byte each: {MAX_EXPERTS} at most, this model has {config.n_routed_experts}",
            field="return_routed_experts",
        )


class Recorder:
    """Runs passes of a model and keeps what they chose, when somebody asks."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def run(self, wanted: bool, compute: Callable[[], Tensor]) -> tuple[Tensor, np.ndarray | None]:
        """What `compute` gives, and the experts i16[tokens, layers, k] of its passes where they are wanted."""
        if not wanted:
            return compute(), None
        with record_experts(self._model) as record:
            result = compute()
            return result, record.take().numpy().astype(np.int16)

    def blank(self, num_tokens: int) -> np.ndarray:
        """i16[num_tokens, layers, k] of which nothing is known."""
        config = self._model.config
        return np.full((num_tokens, len(config.layer_indices(MOE)), config.num_experts_per_tok), UNKNOWN, np.int16)


def refuse_experts(request: GenerateRequest) -> None:
    """Raises `BadRequest` where a backend is asked that does not learn of its model's experts."""
    if request.routed_experts:
        raise BadRequest(
            "the engine behind this server does not tell routed experts",
            field="return_routed_experts",
            hint="leave it out, or serve with the embedded engine",
        )
