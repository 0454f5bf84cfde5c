"""A thinking budget as the embedded engine keeps it: when it is used up the next token is `</think>`, and the answer
follows. Asked for by `vllm_xargs`/`extra_args` {"thinking_budget": n, "thinking_open": 0 | 1}.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.v1.sample.logits_processor import LogitsProcessor
from vllm.v1.sample.logits_processor.builtin import process_dict_updates

from .thought import END_THINK, Thought


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
