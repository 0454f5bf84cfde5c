"""How much one request may still think: counted as `policy_server.steering` counts, without vLLM."""

from __future__ import annotations

from collections.abc import Sequence

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
