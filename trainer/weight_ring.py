"""Two memories that take turns: one holds what is served, the other takes the next version of the weights.

write ─▶ offer ─▶ the policy server adopts it ─▶ settle(True): the other memory is free
                      ├─ it said no ───────────▶ settle(False): written again next time
                      └─ nobody knows ─────────▶ settle(None): given up; the next version gets new memory
"""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from model import weight_layout
from model.stack import HybridModel
from model.weight_layout import Place
from model.weight_memory import Handle, WeightMemory


@dataclass(frozen=True, slots=True)
class Offer:
    """Weights that lie ready: where, and what lies where in them.

    `checksums` of what was brought together for it, where that came from several processes; else the learner's model
    is there to be asked (`weight_checksums`).
    """

    handle: Handle
    layout: list[Place]
    checksums: dict[str, str] = field(default_factory=dict)


class WeightRing:
    """The memories of one learner, for a model laid out as this one, which may be on `meta`; `shared` ones can be
    read by other processes of this machine."""

    def __init__(self, model: HybridModel, shared: bool) -> None:
        self._shared = shared
        self._layout, self._nbytes = weight_layout.places_of(model)
        self._memories: list[WeightMemory | None] = [None, None]
        self._served, self._written = 1, 0

    def free(self) -> Tensor:
        """The memory u8[nbytes] that nobody serves from, to be written now."""
        self._written = 1 - self._served
        memory = self._memories[self._written]
        if memory is None:
            memory = self._memories[self._written] = WeightMemory(self._nbytes, self._shared)
        return memory.tensor

    def written(self) -> tuple[Offer, Tensor]:
        """What `free` was asked for last, on offer, and its bytes."""
        memory = self._memories[self._written]
        assert memory is not None, "nothing was written"
        return Offer(memory.handle, self._layout), memory.tensor

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
