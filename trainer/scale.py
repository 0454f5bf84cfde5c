"""The parts of a recipe that say how large its run is: which model, over how many processes, beside which policy."""

from __future__ import annotations

from typing import Literal

import msgspec


class LayoutRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the learner is spread (`model/parallel/layout.py`, docs/parallelism.md); all ones is one process.

    `dp`: replicas of the data, 0 for as many as the GPUs give. `ep`, `tp`, `cp`: expert, tensor, context parallelism.
    `recompute`: kinds of layers (of "ME*") whose activations are computed again in the backward pass.
    """

    dp: int = 1
    ep: int = 1
    tp: int = 1
    cp: int = 1
    recompute: str = ""

    @property
    def processes(self) -> int:
        """How many the learner has; 0 where it is left to the number of GPUs."""
        return self.dp * self.tp * self.cp

    def __post_init__(self) -> None:
        if self.dp < 0 or min(self.ep, self.tp, self.cp) < 1:
            raise ValueError(
                f"`dp` is 0 or more and `ep`, `tp`, `cp` 1 or more, not {self.dp, self.ep, self.tp, self.cp}"
            )
        if strange := set(self.recompute) - set("ME*"):
            raise ValueError(f"`recompute` names kinds of layers, some of M, E and *, not {''.join(sorted(strange))}")


class PolicyRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who samples. `tp`: GPUs of one replica. `memory_share`: of each GPU, where learner and policy share them.

    `replicas`: policy servers behind one address, which keeps a rollout's turns together and outlives each of them;
    `palaestra plan` takes 1 for as many as there are GPUs for.
    `deterministic`: each sample is computed by itself, so a run that was killed ends with the bits of one that was not.
    `max_length`: tokens of prompt and answer together; 0 for whatever the policy server takes by default.
    `transport`: how it gets new weights (`trainer/transports.py`); `auto` is memory of the process where both live in
    one, shared memory on one machine, else HTTP (`palaestra/transport.py`). `switch`: when it takes them; `publish_s`:
    seconds for each phase of it.
    """

    engine: Literal["embedded", "vllm"] = "embedded"
    replicas: int = 1
    tp: int = 1
    memory_share: float = 0.5
    deterministic: bool = False
    max_length: int = 0
    transport: Literal["auto", "in_process", "shared_memory", "http", "disk"] = "auto"
    switch: Literal["between_tokens", "drain"] = "between_tokens"
    publish_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.publish_s > 0.0:
            raise ValueError(f"`publish_s` must be positive, not {self.publish_s}")
        if min(self.tp, self.replicas) < 1 or self.max_length < 0:
            given = f"{self.tp, self.replicas, self.max_length}"
            raise ValueError(f"`tp` and `replicas` are 1 or more and `max_length` 0 or more, not {given}")
        if not 0.0 < self.memory_share < 1.0:
            raise ValueError(f"`memory_share` is in (0, 1), not {self.memory_share}")
