"""What steers one sample away from the policy's own distribution: a grammar, penalties, the end of a thinking budget.

    logits ─▶ bias, penalties ─▶ grammar (outside thoughts) ─▶ </think> alone, when the budget is used up ─▶ draw

A token drawn from steered logits is trained on only where steering changed nothing to speak of (`SLACK`); where a
single token was left it is forced, whatever the policy thought of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gym_core.errors import PalaestraError
from model.control_tokens import END_THINK, END_TOOL_CALL, THINK, TOOL_CALL
from policy_server.grammar import Matcher
from policy_server.requests import FORCED, SAMPLED, STEERED, GenerateRequest

SLACK = 1e-3
"""How far steering may move a token's log-probability for it still to count as the policy's own choice, in nats."""


def needs_steering(request: GenerateRequest) -> bool:
    """Whether any of the request's options touches the distribution."""
    penalised = request.presence_penalty or request.frequency_penalty or request.logit_bias
    held = request.constraint is not None or request.thinking_budget is not None or request.single_call
    return bool(penalised or held)


class Steering:
    """The state of one sample: what it has said, where its grammar stands, how much thinking is left."""

    def __init__(self, request: GenerateRequest, grammar: Matcher | None) -> None:
        self._request = request
        self._grammar = None if grammar is None else grammar.begin()
        self._thinking, self._left = request.thinking_open, request.thinking_budget
        self._said: Counter[int] = Counter()
        self._penalised = bool(request.presence_penalty or request.frequency_penalty)
        self._in_call = self._called = False

    @property
    def must_close(self) -> bool:
        """Whether the thought has to end with the next token."""
        return self._thinking and self._left is not None and self._left <= 1

    @property
    def active(self) -> bool:
        """Whether the next token is steered at all."""
        held = self._grammar is not None and not self._thinking
        return held or self.must_close or self._no_more_calls or bool(self._said) or bool(self._request.logit_bias)

    @property
    def _no_more_calls(self) -> bool:
        return self._called and self._request.single_call and not self._thinking

    def adjust(self, logits: Tensor) -> None:
        """Add bias and penalties to logits [V], in place."""
        request = self._request
        if request.logit_bias:
            _add(logits, list(request.logit_bias), list(request.logit_bias.values()))
        if self._said:
            once, each = request.presence_penalty, request.frequency_penalty
            _add(logits, list(self._said), [-once - each * count for count in self._said.values()])

    def fill(self, allowed: np.ndarray) -> None:
        """Write bool[V], the tokens that may come next. Raises `PolicyFault` when the grammar cannot go on."""
        if self.must_close:
            allowed[:] = False
            allowed[END_THINK] = True
        elif self._grammar is not None and not self._thinking:
            self._grammar.fill(allowed)
        elif self._no_more_calls:
            allowed[TOOL_CALL] = False

    def push(self, token: int) -> None:
        """The token that was drawn."""
        if self._penalised:
            self._said[token] += 1
        if self._thinking:
            self._spend()
            self._thinking = token != END_THINK
        elif self._grammar is not None:
            self._grammar.push(token)
        elif token == THINK:
            self._spend()
            self._thinking = True
        elif token == TOOL_CALL:
            self._in_call = True
        elif token == END_TOOL_CALL and self._in_call:
            self._called = True

    def _spend(self) -> None:
        if self._left is not None:
            self._left -= 1


def steer(steering: Sequence[Steering], logits: Tensor) -> tuple[Tensor, np.ndarray, dict[int, PalaestraError]]:
    """Steered logits [n, V] of the policy's logits [n, V]; bool[n], rows where a single token is left; broken rows."""
    logits = logits.float().clone()
    allowed = np.ones(logits.shape, np.bool_)
    broken: dict[int, PalaestraError] = {}
    for row, one in enumerate(steering):
        one.adjust(logits[row])
        try:
            one.fill(allowed[row])
        except PalaestraError as error:  # the boundary: this sample fails, the others go on
            broken[row] = error
    if not allowed.all():
        logits.masked_fill_(torch.from_numpy(~allowed).to(logits.device), float("-inf"))
    return logits, np.asarray(allowed.sum(1) == 1), broken


def origins(drift: np.ndarray, forced: np.ndarray) -> np.ndarray:
    """u8[n] `SAMPLED`, `STEERED` or `FORCED`, from f32[n] drifts and bool[n]."""
    return np.where(forced, FORCED, np.where(drift <= SLACK, SAMPLED, STEERED)).astype(np.uint8)


def _add(logits: Tensor, tokens: list[int], amounts: list[float]) -> None:
    index = torch.tensor(tokens, dtype=torch.int64, device=logits.device)
    logits.index_add_(0, index, torch.tensor(amounts, dtype=logits.dtype, device=logits.device))
