"""The token-level clipped surrogate with clip-higher and masked importance sampling.

    r_t = exp(log π_θ - log π_old)                     how far this update has moved
    w_t = exp(log π_old - log π_gen), 0 outside bounds  how far sampler and trainer disagree (no gradient)
    L   = Σ_i Σ_t  w_t · max(-A_i r_t, -A_i clip(r_t, 1 - ε_low, 1 + ε_high))  /  N

Clip-higher and the token-level sum are DAPO's (arXiv 2503.14476, eq. 8); w is decoupled from r as in AReaL
(arXiv 2505.24298, eq. 5) and NeMo RL. The inner sum is per sequence and nothing is averaged on the way: N, the
number of trained tokens of the whole global batch, is computed once by the caller, so micro-batch size, packing and
data parallelism change nothing. N counts tokens before the mask: a masked token gives no gradient and frees none.

Beside it, where a recipe asks for it, an anchor to a reference policy: β Σ k3(log π_θ - log π_ref) / N with Schulman's
estimator k3(d) = exp(-d) - 1 + d (joschu.net/blog/kl-approx.html; GRPO, arXiv 2402.03300, eq. 4).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(slots=True)
class Objective:
    """`sequence_sums` [S] are unnormalised per-sequence losses; `loss` is their sum over N; the rest counts tokens."""

    loss: Tensor
    sequence_sums: Tensor
    ratio: Tensor
    clipped_low: Tensor
    clipped_high: Tensor


def token_losses(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, weights: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, Tensor]:
    """Loss and ratio of each trained token; every tensor [M]. Only `logprobs` carries a gradient."""
    ratio = torch.exp(logprobs - old_logprobs)
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    return weights * torch.maximum(-advantages * ratio, -advantages * clipped), ratio


def kl_to_reference(logprobs: Tensor, reference: Tensor) -> Tensor:
    """k3 of each trained token [M]: never negative, 0 where both agree. Log-ratios beyond 20 count as 20."""
    behind = (reference - logprobs).clamp(-20.0, 20.0)
    return torch.exp(behind) - 1.0 - behind


def clipped_surrogate(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    sequence: Tensor,
    num_sequences: int,
    normaliser: float,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
) -> Objective:
    """The objective over one micro-batch. `sequence` i64[M] says whose token each is; other tensors are [M]."""
    losses, ratio = token_losses(logprobs, old_logprobs, advantages, weights, clip_low, clip_high)
    sums = losses.new_zeros(num_sequences).index_add(0, sequence, losses)
    moved = ratio.detach()
    return Objective(
        loss=sums.sum() / normaliser,
        sequence_sums=sums,
        ratio=moved,
        clipped_low=((moved < 1.0 - clip_low) & (advantages < 0)).sum(),
        clipped_high=((moved > 1.0 + clip_high) & (advantages > 0)).sum(),
    )
