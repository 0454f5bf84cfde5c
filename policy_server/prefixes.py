"""States worth keeping: prompts that group mates will ask again, finished turns that the next turn continues, and the
system block with its tools that many prompts begin with.

An entry is a cache slot, of those set aside for it, that holds the state after exactly some tokens under one policy
version. A prompt's entry also has the hidden state of its last token, so the same prompt needs no computation at all.
The least recently used goes first; new weights drop everything.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from torch import Tensor


@dataclass(slots=True, frozen=True)
class Prefix:
    """State after `num_tokens` tokens; hidden [D] of the last one and their routed experts where those are known."""

    slot: int
    num_tokens: int
    hidden: Tensor | None = None
    experts: np.ndarray | None = None


def key_of(tokens: np.ndarray) -> bytes:
    """Identity of a token sequence i64[t]."""
    return blake2b(tokens.tobytes(), digest_size=16).digest()


class PrefixCache:
    """Entries in the given slots of the state cache."""

    def __init__(self, slots: Iterable[int]) -> None:
        self.hits = self.misses = 0
        self._free = list(slots)
        self.num_slots = len(self._free)
        self._entries: OrderedDict[bytes, Prefix] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, tokens: np.ndarray) -> bool:
        return key_of(tokens) in self._entries

    def find(self, prompt: np.ndarray, *lengths: int) -> Prefix | None:
        """What is known of this prompt: all of it, else its beginning of the first of `lengths` that is known."""
        found = self._touch(key_of(prompt))
        if found is None or found.hidden is None:
            beginnings = (prompt[:length] for length in lengths if 0 < length < len(prompt))
            found = next(filter(None, (self._touch(key_of(tokens)) for tokens in beginnings)), None)
        self.hits += found is not None
        self.misses += found is None
        return found

    def _touch(self, key: bytes) -> Prefix | None:
        found = self._entries.get(key)
        if found is not None:
            self._entries.move_to_end(key)
        return found

    def put(self, tokens: np.ndarray, hidden: Tensor | None = None, experts: np.ndarray | None = None) -> int | None:
        """The slot into which the caller now has to copy the state after `tokens`; None when there is nothing to do."""
        key = key_of(tokens)
        if key in self._entries or (slot := self.take()) is None:
            return None
        self._entries[key] = Prefix(slot, len(tokens), hidden, experts)
        return slot

    def take(self) -> int | None:
        """A slot for a state of the caller's own, which comes back by `give`; None when all are taken."""
        if not self._free and not self._entries:
            return None
        return self._free.pop() if self._free else self._entries.popitem(last=False)[1].slot

    def give(self, slot: int) -> None:
        """Take a slot back."""
        self._free.append(slot)

    def clear(self) -> None:
        """Drop everything: the weights are others now."""
        while self._entries:
            self._free.append(self._entries.popitem()[1].slot)
