"""Auxiliary loss of load balancing, for pretraining and SFT; reinforcement keeps it off (it moves log-probabilities).

    L_s = a E sum_i f_i P_i      f_i = c_i / (n k), P_i = mean over the n tokens of s_i / sum_j s_j

c counts the top-k of the unbiased scores (Megatron's switch_load_balancing_loss_func; 2101.03961, eq. 4-6). Taken over
each sequence alone it is the sequence-wise loss, averaged over sequences (2412.19437, eq. 17-20); over all tokens, the
plain one. Perfectly even load gives L = a.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.kernels.router import choose


def balance_losses(
    logits: Tensor,
    top_k: int,
    coefficient: float,
    sequence: Tensor,
    num_sequences: int,
    counted: Tensor | None = None,
) -> Tensor:
    """logits [T, E], sequence [T] int64 (whose token each is), counted [T] bool -> the loss of each sequence [S].

    Not averaged here: the number of sequences is that of the global batch, which the caller knows. A sequence without
    counted tokens costs nothing.
    """
    num_experts = logits.shape[1]
    scores = torch.sigmoid(logits.to(torch.promote_types(logits.dtype, torch.float32)))
    share = scores / scores.sum(-1, keepdim=True)
    weight = torch.ones_like(sequence) if counted is None else counted.to(torch.int64)
    tokens = weight.new_zeros(num_sequences).scatter_add_(0, sequence, weight).clamp_(min=1)
    load = _load(scores.detach(), top_k, sequence, num_sequences, weight) / (tokens[:, None] * top_k)
    # The gradient of a share is the load of its expert, which is gathered: no order of summing enters it.
    per_token = (share * load.to(share.dtype).index_select(0, sequence)).sum(-1) * weight
    sums = torch.zeros(num_sequences, dtype=torch.float64, device=logits.device)
    sums = sums.index_add(0, sequence, per_token.to(torch.float64))
    return (sums / tokens * (coefficient * num_experts)).to(scores.dtype)


def balance_loss(logits: Tensor, top_k: int, coefficient: float, counted: Tensor | None = None) -> Tensor:
    """The plain loss, all tokens together: a scalar."""
    together = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    return balance_losses(logits, top_k, coefficient, together, 1, counted)[0]


def _load(scores: Tensor, top_k: int, sequence: Tensor, num_sequences: int, weight: Tensor) -> Tensor:
    """Counted tokens per sequence and expert [S, E]."""
    num_experts = scores.shape[1]
    experts = choose(scores, scores.new_zeros(num_experts), top_k)
    place = (sequence[:, None] * num_experts + experts).flatten()
    counts = weight.new_zeros(num_sequences * num_experts)
    return counts.scatter_add_(0, place, weight[:, None].expand_as(experts).flatten()).view(num_sequences, -1)
