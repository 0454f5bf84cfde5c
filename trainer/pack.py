"""From traces to packed micro-batches and back.

A **sample** is one trace with its rollout's advantage. Samples are laid end to end, `cu_seqlens` says where each
begins (mandatory: without it state would leak from one sample into the next). Only trained tokens reach the head:

    token_ids  [T]   p0 p1 a2 a3 | p0 a1 ...
    experts    [T, layers, k]   experts the sampler chose, -1 where it recorded none (None: nowhere)
    rows       [M]   positions whose hidden state predicts a trained token: t - 1
    targets    [M]   the trained tokens themselves: t

so entry m of every [M] tensor, log-probabilities included, is about the token at position `rows[m] + 1`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(slots=True)
class Sample:
    """token_ids i32[n]; loss_mask bool[n], False at 0; logprobs f32[n] as sampled (0 elsewhere); one advantage;
    routed_experts, any integers [n, MoE layers, top_k], negative where the learner shall choose, or None."""

    token_ids: np.ndarray
    loss_mask: np.ndarray
    logprobs: np.ndarray
    advantage: float = 0.0
    routed_experts: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not (len(self.token_ids) == len(self.loss_mask) == len(self.logprobs)):
            raise ValueError(
                f"a sample's arrays differ in length: {len(self.token_ids)} tokens, "
                f"{len(self.loss_mask)} mask, {len(self.logprobs)} logprobs"
            )
        if self.routed_experts is not None and len(self.routed_experts) != len(self.token_ids):
            raise ValueError(
                f"a sample of {len(self.token_ids)} tokens has experts recorded for {len(self.routed_experts)}"
            )
        if len(self.loss_mask) and self.loss_mask[0]:
            raise ValueError("the first token of a sample cannot be trained on: nothing predicts it")

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def num_trained(self) -> int:
        return int(np.count_nonzero(self.loss_mask))


@dataclass(slots=True)
class MicroBatch:
    """Packed samples. `indices` names them in the order packed; `sequence` i64[M] counts within this micro-batch."""

    indices: list[int]
    token_ids: Tensor
    cu_seqlens: Tensor
    rows: Tensor
    targets: Tensor
    gen_logprobs: Tensor
    advantages: Tensor
    sequence: Tensor
    experts: Tensor | None = None

    @property
    def num_sequences(self) -> int:
        return len(self.indices)

    def to(self, device: torch.device) -> MicroBatch:
        if device.type == "cpu":
            return self
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        moved: dict[str, Any] = {name: v.to(device) if isinstance(v, Tensor) else v for name, v in values.items()}
        return MicroBatch(**moved)

    def unpack(self, values: Tensor, samples: Sequence[Sample]) -> dict[int, np.ndarray]:
        """The way back: values [M] as one full-length array per sample, 0 where not trained, by its index."""
        flat = values.detach().cpu().numpy()
        out: dict[int, np.ndarray] = {}
        at = 0
        for index in self.indices:
            mask = samples[index].loss_mask
            end = at + samples[index].num_trained
            out[index] = np.zeros(len(mask), flat.dtype)
            out[index][mask] = flat[at:end]
            at = end
        return out


def first_fit_decreasing(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices by bin, each bin at most `budget` tokens; longest first, ties by index, so the result is determined.

    An item longer than the budget has a bin of its own.
    """
    bins: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        place = next((b for b, free in enumerate(room) if length <= free), None)
        if place is None:
            bins.append([index])
            room.append(budget - length)
        else:
            bins[place].append(index)
            room[place] -= length
    return bins


def pack(samples: Sequence[Sample], budget: int, dtype: torch.dtype = torch.float32) -> list[MicroBatch]:
    """Micro-batches of at most `budget` tokens holding every sample once; `dtype` of the floating tensors."""
    bins = first_fit_decreasing([len(sample) for sample in samples], budget)
    return [_micro_batch(samples, indices, dtype) for indices in bins]


def _micro_batch(samples: Sequence[Sample], indices: list[int], dtype: torch.dtype) -> MicroBatch:
    chosen = [samples[i] for i in indices]
    token_ids = np.concatenate([s.token_ids for s in chosen]).astype(np.int64)
    mask = np.concatenate([s.loss_mask for s in chosen]).astype(bool)
    trained = np.flatnonzero(mask)
    counts = [s.num_trained for s in chosen]
    logprobs = np.concatenate([s.logprobs for s in chosen])[trained]
    return MicroBatch(
        indices=indices,
        token_ids=torch.from_numpy(token_ids),
        cu_seqlens=torch.from_numpy(np.cumsum([0, *(len(s) for s in chosen)], dtype=np.int32)),
        rows=torch.from_numpy(trained - 1),
        targets=torch.from_numpy(token_ids[trained]),
        gen_logprobs=torch.from_numpy(logprobs).to(dtype),
        advantages=torch.from_numpy(np.repeat([s.advantage for s in chosen], counts)).to(dtype),
        sequence=torch.from_numpy(np.repeat(np.arange(len(chosen)), counts)),
        experts=_experts(chosen),
    )


def _experts(chosen: Sequence[Sample]) -> Tensor | None:
    """The records of all samples; those that have none are left to choose."""
    records = [sample.routed_experts for sample in chosen]
    shape = next((record.shape[1:] for record in records if record is not None), None)
    if shape is None:
        return None
    live = [np.full((len(sample), *shape), -1) for sample in chosen]
    known = [empty if record is None else record for record, empty in zip(records, live, strict=True)]
    return torch.from_numpy(np.concatenate(known).astype(np.int64))
