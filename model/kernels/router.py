"""Sigmoid router: the top-k experts by score plus selection bias, weighted by their scores alone (2408.15664).

s = sigmoid(x Wg^T);  chosen = top-k of (s + bias);  w = scale s / (sum of chosen s + 1e-20).
fp32 at least throughout. The bias steers the choice and never the weights, so it is centred before it is added:
released biases sit near 64, where adding them as they are would round the scores away.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Routing(NamedTuple):
    experts: Tensor  # [T, k] int64, best first
    weights: Tensor  # [T, k] fp32 or higher


def route(x: Tensor, gate_weight: Tensor, bias: Tensor, top_k: int, scale: float, normalise: bool) -> Routing:
    """x [T, D], gate_weight [E, D], bias [E] -> the k experts of each token and their weights.

    Gradients reach x and gate_weight through the weights; freezing the gate does not cut the path to x.
    Ties go to the lower expert index. Raises TypeError when the bias is narrower than fp32.
    """
    if bias.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"e_score_correction_bias must stay float32, got {bias.dtype}: rounding it moves the routing")
    wide = torch.promote_types(x.dtype, torch.float32)
    scores = torch.sigmoid(F.linear(x.to(wide), gate_weight.to(wide)))
    experts = choose(scores.detach(), bias, top_k)
    weights = scores.gather(1, experts)
    if normalise:
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20)
    return Routing(experts, weights * scale)


def dense_weights(logits: Tensor, bias: Tensor, top_k: int, scale: float, normalise: bool) -> Tensor:
    """Gate logits [B, E] -> the weight of every expert [B, E] in fp32 at least, zero where it is not chosen."""
    scores = torch.sigmoid(logits.to(torch.promote_types(logits.dtype, torch.float32)))
    weights = torch.zeros_like(scores)
    experts = choose(scores, bias, top_k)
    chosen = scores.gather(1, experts)
    if normalise:
        chosen = chosen / (chosen.sum(-1, keepdim=True) + 1e-20)
    return weights.scatter_(1, experts, chosen.mul_(scale))


def choose(scores: Tensor, bias: Tensor, top_k: int) -> Tensor:
    """[T, E] scores -> [T, k] expert indices by score + centred bias, best first, ties to the lower index."""
    rank = scores + (bias - bias.mean()).to(scores.dtype)
    picks = []
    for _ in range(top_k):
        best = rank.argmax(-1, keepdim=True)
        rank.scatter_(1, best, float("-inf"))
        picks.append(best)
    return torch.cat(picks, 1)
