"""How the pairs (token, one of its k experts) sort by expert: one block of rows for each expert, tokens in order.

M = T*k pairs; pair p is expert p % k of token p // k. The sort is stable, so the order, and with it every sum that
follows it, is the same on every run.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class ExpertOrder(NamedTuple):
    """All int64. Row r of the sorted pairs is pair[r], of token[r]; pair p sits in row[p]."""

    pair: Tensor  # [M]
    token: Tensor  # [M]
    row: Tensor  # [T, k]
    ends: Tensor  # [E]: where each expert's block of rows ends


def order_by_expert(experts: Tensor, num_experts: int) -> ExpertOrder:
    """experts [T, k] -> their order. On a GPU nothing waits for the device."""
    flat = experts.flatten()
    pair = _sorted_on_cpu(flat, num_experts) if flat.device.type == "cpu" else flat.argsort(stable=True)
    row = torch.empty_like(pair)
    row.scatter_(0, pair, torch.arange(len(pair), device=pair.device))
    counts = torch.zeros(num_experts, dtype=torch.int64, device=flat.device)
    ends = counts.scatter_add_(0, flat, torch.ones_like(flat)).cumsum(0)
    return ExpertOrder(pair, pair.div(experts.shape[1], rounding_mode="floor"), row.view(experts.shape), ends)


def _sorted_on_cpu(flat: Tensor, num_experts: int) -> Tensor:
    # numpy sorts numbers of one or two bytes by radix, ten times faster than torch sorts.
    narrow = torch.uint8 if num_experts <= 1 << 8 else torch.int16 if num_experts <= 1 << 15 else torch.int64
    return torch.from_numpy(np.argsort(flat.to(narrow).numpy(), kind="stable"))
