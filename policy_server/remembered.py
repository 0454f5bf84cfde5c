"""The things used last, as many as fit into so many bytes: what a server remembers must not grow with what it is asked.

A bound on their number, or on the size of one part of them, is no bound: ten thousand short texts with their ids take
twenty times what their characters do. So whoever keeps a thing says how much memory it takes, all of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

ENTRY_BYTES = 256
"""What the dictionary takes for one entry, whatever is in it."""


class Remembered(Generic[K, V]):
    """At most `most_bytes` of entries, and at most `most` of them; the one not used for longest goes first.

    Belongs to one thread.
    """

    def __init__(self, most_bytes: int, most: int | None = None) -> None:
        self._most_bytes, self._most = most_bytes, most
        self._kept: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self.num_bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, key: K) -> V | None:
        """What is kept under this key, which was used just now."""
        found = self._kept.get(key)
        if found is None:
            return None
        self._kept.move_to_end(key)
        return found[0]

    def keep(self, key: K, value: V, num_bytes: int) -> None:
        """Remember `value`; key and value take `num_bytes`. What would not fit beside nothing else is not kept."""
        self._forget(key)
        cost = num_bytes + ENTRY_BYTES
        if cost > self._most_bytes:
            return
        self._kept[key] = value, cost
        self.num_bytes += cost
        while self.num_bytes > self._most_bytes or (self._most is not None and len(self._kept) > self._most):
            self._forget(next(iter(self._kept)))

    def _forget(self, key: K) -> None:
        found = self._kept.pop(key, None)
        if found is not None:
            self.num_bytes -= found[1]
