"""Two memories that take turns: one holds what is served, the other takes the next version of the weights.

write ─▶ offer ─▶ the policy server adopts it ─▶ settle(True): the other memory is free
                      ├─ it said no ───────────▶ settle(False): written again next time
                      └─ nobody knows ─────────▶ settle(None): given up; the next version gets new memory
"""

from __future__ import annotations

from dataclasses import dataclass

from model import weight_layout
from model.stack import HybridModel
from model.weight_layout import Place
from model.weight_memory import Handle, WeightMemory


@dataclass(frozen=True, slots=True)
class Offer:
    """Weights that lie ready: where, and what lies where in them."""

    handle: Handle
    layout: list[Place]


class WeightRing:
    """The memories of one learner; `shared` ones can be read by other processes of this machine."""

    def __init__(self, model: HybridModel, shared: bool) -> None:
        self._model, self._shared = model, shared
        self._layout, self._nbytes = weight_layout.places_of(model)
        self._memories: list[WeightMemory | None] = [None, None]
        self._served, self._written = 1, 0

    def write(self) -> Offer:
        """Copy the learner's weights as they are now into the memory that nobody serves from."""
        self._written = 1 - self._served
        memory = self._memories[self._written]
        if memory is None:
            memory = self._memories[self._written] = WeightMemory(self._nbytes, self._shared)
        weight_layout.write(self._model, memory.tensor)
        return Offer(memory.handle, self._layout)

    def settle(self, taken: bool | None) -> None:
        """Whether what was written last is served now; None where that is not known."""
        if taken:
            self._served = self._written
        elif taken is None and (memory := self._memories[self._written]) is not None:
            memory.close()  # a server that did take it keeps it alive, and nobody writes to it any more
            self._memories[self._written] = None

    def close(self) -> None:
        for memory in self._memories:
            if memory is not None:
                memory.close()
        self._memories = [None, None]
