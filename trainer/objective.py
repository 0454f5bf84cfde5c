"""The policy-gradient objective: one token-level sum, with the choices in which published algorithms differ.

    r_t = exp(log π_θ - log π_old)                      how far this update has moved        ratio "token"
    s   = exp(mean_t (log π_θ - log π_old))             the same of a whole sequence         ratio "sequence"
    w_t                                                 sampler against trainer (trainer/mismatch.py), no gradient

    clip "ppo"     ℓ_t = max(-A r_t, -A clip(r_t, 1 - ε_low, 1 + ε_high)), for A < 0 at most -c A (dual clip, if any)
    clip "weight"  ℓ_t = -A stopgrad(clip(r_t, 1 - ε_low, 1 + ε_high)) log π_θ
    L = Σ_i c_i Σ_t w_t ℓ_t / N  +  β Σ_i c_i Σ_t k3_t / N

    aggregate "token"     c_i = 1              N = trained tokens of the global batch
    aggregate "sequence"  c_i = 1 / |o_i|      N = sequences of the global batch
    aggregate "constant"  c_i = 1 / constant   N = sequences of the global batch

Sources: clip-higher and the token-level sum are DAPO's (arXiv 2503.14476, eq. 8); "sequence" is GRPO's own (arXiv
2402.03300, eq. 3) and, as a ratio, GSPO's (arXiv 2507.18071, eq. 5); "constant" is Dr. GRPO's (arXiv 2503.20783,
listing 1); "weight" is CISPO's (arXiv 2506.13585, eq. 4); dual clip is arXiv 1912.09729, eq. 5; k3 is Schulman's
estimator k3(d) = exp(-d) - 1 + d of d = log π_θ - log π_ref (joschu.net/blog/kl-approx.html). N is computed once by
the caller, so micro-batch size, packing and data parallelism change nothing. It counts tokens before any mask: a
masked token gives no gradient and frees none. Only whole sequences that are dropped (`sequence_error_max`) leave it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from trainer.recipe_parts import Aggregate, Clip, Ratio


@dataclass(slots=True)
class Objective:
    """`sequence_sums` [S] are unnormalised per-sequence losses; `loss` is their sum over N; `ratio` [M] has no
    gradient; the clip counts are tokens."""

    loss: Tensor
    sequence_sums: Tensor
    ratio: Tensor
    clipped_low: Tensor
    clipped_high: Tensor


def log_ratios(logprobs: Tensor, old_logprobs: Tensor, sequence: Tensor, num_sequences: int, ratio: Ratio) -> Tensor:
    """log r of each token [M]; under "sequence" all tokens of one share their mean, and its gradient."""
    moved = logprobs - old_logprobs
    return sequence_means(moved, sequence, num_sequences)[sequence] if ratio == "sequence" else moved


def sequence_means(values: Tensor, sequence: Tensor, num_sequences: int) -> Tensor:
    """Mean of [M] over each sequence [S]; 0 where one has no token."""
    sums = values.new_zeros(num_sequences).index_add(0, sequence, values)
    return sums / sequence_lengths(values, sequence, num_sequences).clamp(min=1.0)


def sequence_lengths(like: Tensor, sequence: Tensor, num_sequences: int) -> Tensor:
    """Trained tokens of each sequence [S], in the dtype of `like`."""
    return like.new_zeros(num_sequences).index_add(0, sequence, torch.ones_like(like, requires_grad=False))


def token_losses(
    logprobs: Tensor,
    ratio: Tensor,
    advantages: Tensor,
    weights: Tensor,
    clip_low: float,
    clip_high: float,
    clip: Clip = "ppo",
    dual_clip: float | None = None,
) -> Tensor:
    """w_t ℓ_t of each trained token; every tensor [M]."""
    clipped = ratio.clamp(1.0 - clip_low, 1.0 + clip_high)
    if clip == "weight":
        return -weights * advantages * clipped.detach() * logprobs
    losses = torch.maximum(-advantages * ratio, -advantages * clipped)
    if dual_clip is not None:
        losses = torch.where(advantages < 0, torch.minimum(losses, -advantages * dual_clip), losses)
    return weights * losses


def kl_to_reference(logprobs: Tensor, reference: Tensor) -> Tensor:
    """k3 of each trained token [M]: never negative, 0 where both agree. Log-ratios beyond 20 count as 20."""
    behind = (reference - logprobs).clamp(-20.0, 20.0)
    return torch.exp(behind) - 1.0 - behind


def token_shares(lengths: Tensor, aggregate: Aggregate, constant: float) -> Tensor:
    """c_i of each sequence [S], from its trained tokens [S]."""
    if aggregate == "token":
        return torch.ones_like(lengths)
    return 1.0 / lengths.clamp(min=1.0) if aggregate == "sequence" else torch.full_like(lengths, 1.0 / constant)


def normaliser(num_tokens: int, num_sequences: int, aggregate: Aggregate) -> float:
    """N of a global batch with so many trained tokens in so many sequences."""
    return float(num_tokens if aggregate == "token" else num_sequences)


def surrogate(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    sequence: Tensor,
    num_sequences: int,
    normaliser: float,
    *,
    clip_low: float = 0.2,
    clip_high: float = 0.28,
    ratio: Ratio = "token",
    clip: Clip = "ppo",
    dual_clip: float | None = None,
    aggregate: Aggregate = "token",
    constant: float = 1.0,
    reference_logprobs: Tensor | None = None,
    kl_coef: float = 0.0,
    kept: Tensor | None = None,
) -> Objective:
    """The objective over one micro-batch of whole sequences. `sequence` i64[M] says whose token each is; other
    tensors are [M]; only `logprobs` carries a gradient. `kept` bool[S]: sequences that take part, None for all."""
    moved = log_ratios(logprobs, old_logprobs, sequence, num_sequences, ratio).exp()
    losses = token_losses(logprobs, moved, advantages, weights, clip_low, clip_high, clip, dual_clip)
    if reference_logprobs is not None:
        anchored = kl_to_reference(logprobs, reference_logprobs)
        losses = losses + kl_coef * (anchored if kept is None else anchored * kept[sequence])
    sums = losses.new_zeros(num_sequences).index_add(0, sequence, losses)
    if aggregate != "token":
        lengths = sequence_lengths(losses.detach(), sequence, num_sequences)
        sums = sums * token_shares(lengths, aggregate, constant)
    seen = moved.detach()
    return Objective(
        loss=sums.sum() / normaliser,
        sequence_sums=sums,
        ratio=seen,
        clipped_low=((seen < 1.0 - clip_low) & (advantages < 0)).sum(),
        clipped_high=((seen > 1.0 + clip_high) & (advantages > 0)).sum(),
    )
