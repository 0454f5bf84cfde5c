"""A batch dealt out to the replicas of a layout: who gets which samples, and what fills up who has too few tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import torch

from trainer.pack import MicroBatch


def shares_of(lengths: Sequence[int], parts: int) -> list[list[int]]:
    """Indices of samples by replica: longest first, each to the one with the fewest tokens; ties to the first."""
    shares: list[list[int]] = [[] for _ in range(parts)]
    loads = [0] * parts
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        lightest = loads.index(min(loads))
        shares[lightest].append(index)
        loads[lightest] += lengths[index]
    return shares


def at_least(batch: MicroBatch, minimum: int) -> MicroBatch:
    """The batch with a sequence of uncounted tokens after it, where it is too short to be cut into stretches."""
    short = minimum - len(batch.token_ids)
    if short <= 0:
        return batch
    experts = batch.experts
    if experts is not None:
        experts = torch.cat((experts, experts.new_full((short, *experts.shape[1:]), -1)))
    return replace(
        batch,
        token_ids=torch.cat((batch.token_ids, batch.token_ids.new_zeros(short))),
        cu_seqlens=torch.cat((batch.cu_seqlens, batch.cu_seqlens[-1:] + short)),
        experts=experts,
    )


def idle_batch(num_tokens: int, dtype: torch.dtype) -> MicroBatch:
    """A batch of no samples: its tokens are computed, counted nowhere and trained on never."""
    empty = torch.zeros(0, dtype=torch.int64)
    whole: dict[str, Any] = {field.name: empty for field in fields(MicroBatch)}
    return MicroBatch(
        **whole
        | {"indices": [], "experts": None, "gen_logprobs": empty.to(dtype), "advantages": empty.to(dtype)}
        | {"token_ids": torch.zeros(num_tokens, dtype=torch.int64), "cu_seqlens": torch.tensor([0, num_tokens])}
    )
