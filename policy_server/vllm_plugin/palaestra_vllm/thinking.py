"""A thinking budget as the embedded engine keeps it: when it is used up the next token is `</think>`, and the answer
follows. Asked for by `vllm_xargs`/`extra_args` {"thinking_budget": n, "thinking_open": 0 | 1}.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

THINK, END_THINK = 12, 13
"""Ids of the tags in every tokenizer of this family."""


class Thought:
    """Where one request stands: thinking or not, and how many tokens it may still think, `</think>` included."""

    def __init__(self, said: Sequence[int], budget: int, thinking: bool) -> None:
        self._said, self._left, self._thinking, self._seen = said, budget, thinking, 0

    def must_close(self) -> bool:
        """Look at what was said since; whether the next token has to be `</think>`."""
        for token in self._said[self._seen :]:
            if self._thinking or token == THINK:
                self._left -= 1
                self._thinking = token != END_THINK
        self._seen = len(self._said)
        return self._thinking and self._left <= 1


class ThinkingBudget(LogitsProcessor):
    """Leaves `</think>` alone where a budget is used up."""

    def __init__(self, vllm_config: Any, device: torch.device, is_pin_memory: bool) -> None:
        self._thoughts: dict[int, Thought] = {}

    @classmethod
    def validate_params(cls, sampling_params: Any) -> None:
        budget = (sampling_params.extra_args or {}).get("thinking_budget")
        if budget is not None and (not isinstance(budget, int) or budget < 0):
            raise ValueError(f"thinking_budget must be a number of tokens, not {budget!r}")

    def is_argmax_invariant(self) -> bool:
        return False

    def update_state(self, batch_update: Any) -> None:
        process_dict_updates(self._thoughts, batch_update, _thought)

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        rows = [row for row, thought in self._thoughts.items() if thought.must_close()]
        if rows:
            logits[rows] = -float("inf")
            logits[rows, END_THINK] = 0.0
        return logits


def _thought(params: Any, _: list[int] | None, said: list[int]) -> Thought | None:
    asked = params.extra_args or {}
    if "thinking_budget" not in asked:
        return None
    return Thought(said, asked["thinking_budget"], bool(asked.get("thinking_open")))
