"""Sigmoid router: the top-k experts by score plus selection bias, weighted by their scores alone (2408.15664).

s = sigmoid(x Wg^T);  chosen = top-k of (s + bias);  w = scale s / (sum of chosen s + 1e-20).
fp32 at least throughout. The bias steers the choice and never the weights, so it is centred before it is added:
released biases sit near 64, where adding them as they are would round the scores away.

The choice is a rule, not an accident: best first, ties to the lower index, a score that is not a number after every
other, k different experts always. With groups (DeepSeek-V3, 2412.19437, section 2.1.2) only experts of the best groups
may be chosen, a group being worth its two best. A recorded choice can be replayed: the weights are then those of the
live scores, with their gradient (routing replay, 2510.11370).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels import triton_support
from model.kernels.linear import linear

_TINY = 1e-20


class Routing(NamedTuple):
    experts: Tensor  # [T, k] int64, best first
    weights: Tensor  # [T, k] fp32 or higher


class Groups(NamedTuple):
    """Equal groups of neighbouring experts, and of how many the chosen may be."""

    n_group: int = 1
    topk_group: int = 1


ONE_GROUP = Groups()


def route(
    x: Tensor,
    gate_weight: Tensor,
    bias: Tensor,
    top_k: int,
    scale: float,
    normalise: bool,
    *,
    groups: Groups = ONE_GROUP,
    recorded: Tensor | None = None,
) -> Routing:
    """x [T, D], gate_weight [E, D], bias [E] -> the k experts of each token and their weights.

    Gradients reach x and gate_weight through the weights; freezing the gate does not cut the path to x.
    recorded [T, k] of any integer type: experts to replay; a row with a negative number has no record and is
    chosen live.
    Raises TypeError when the bias is narrower than fp32, ValueError when groups or records do not fit.
    """
    logits = gate_logits(x, gate_weight)
    return route_logits(logits, bias, top_k, scale, normalise, groups=groups, recorded=recorded)


def gate_logits(x: Tensor, gate_weight: Tensor) -> Tensor:
    """x [T, D], gate_weight [E, D] -> [T, E] in fp32 at least, whatever their dtype."""
    wide = torch.promote_types(x.dtype, torch.float32)
    return linear(x.to(wide), gate_weight.to(wide))


def route_logits(
    logits: Tensor,
    bias: Tensor,
    top_k: int,
    scale: float,
    normalise: bool,
    *,
    groups: Groups = ONE_GROUP,
    recorded: Tensor | None = None,
) -> Routing:
    """As `route`, from the logits of the gate [T, E]; they can then serve `balance_losses` too."""
    if bias.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"e_score_correction_bias must stay float32, got {bias.dtype}: rounding it moves the routing")
    _check(logits, top_k, groups, recorded)
    if triton_support.wanted(logits) and groups.n_group == 1:
        from model.kernels.router_triton import triton_route

        return Routing(*triton_route(logits, _centred(bias, logits.dtype), top_k, scale, normalise, recorded))
    scores = torch.sigmoid(logits.detach())
    experts = choose(scores, bias, top_k, groups)
    if recorded is not None:
        experts = replayed(experts, recorded)
    weights: Tensor = _ChosenWeights.apply(logits, scores, experts, scale, normalise)
    return Routing(experts, weights)


def route_reference(
    x: Tensor,
    gate_weight: Tensor,
    bias: Tensor,
    top_k: int,
    scale: float,
    normalise: bool,
    *,
    groups: Groups = ONE_GROUP,
    recorded: Tensor | None = None,
) -> Routing:
    """The specification."""
    wide = torch.promote_types(x.dtype, torch.float32)
    scores = torch.sigmoid(x.to(wide) @ gate_weight.to(wide).t())
    experts = choose_reference(scores.detach(), bias, top_k, groups)
    if recorded is not None:
        experts = replayed(experts, recorded)
    weights = scores.gather(1, experts)
    if normalise:
        weights = weights / (weights.sum(-1, keepdim=True) + _TINY)
    return Routing(experts, weights * scale)


def choose_reference(scores: Tensor, bias: Tensor, top_k: int, groups: Groups = ONE_GROUP) -> Tensor:
    """The specification of `choose`, one token after the other."""
    shifted, per_group = bias - bias.mean(), scores.shape[1] // groups.n_group
    chosen = []
    for row in (scores + shifted.to(scores.dtype)).tolist():
        ranks = [value if value == value else torch.finfo(scores.dtype).min for value in row]
        parts = [sorted(ranks[g * per_group : (g + 1) * per_group])[-2:] for g in range(groups.n_group)]
        best = sorted(range(groups.n_group), key=lambda g: (-sum(parts[g]), g))[: groups.topk_group]
        allowed = [e for g in sorted(best) for e in range(g * per_group, (g + 1) * per_group)]
        chosen.append(sorted(allowed, key=lambda e: (-ranks[e], e))[:top_k])
    return torch.tensor(chosen, device=scores.device).view(-1, top_k)


def dense_weights(logits: Tensor, bias: Tensor, top_k: int, scale: float, normalise: bool) -> Tensor:
    """Gate logits [B, E] -> the weight of every expert [B, E] in fp32 at least, zero where it is not chosen."""
    scores = torch.sigmoid(logits.to(torch.promote_types(logits.dtype, torch.float32)))
    weights = torch.zeros_like(scores)
    experts = choose(scores, bias, top_k)
    chosen = scores.gather(1, experts)
    if normalise:
        chosen = chosen / (chosen.sum(-1, keepdim=True) + _TINY)
    return weights.scatter_(1, experts, chosen.mul_(scale))


def choose(scores: Tensor, bias: Tensor, top_k: int, groups: Groups = ONE_GROUP) -> Tensor:
    """[T, E] scores -> [T, k] expert indices by score + centred bias, best first, ties to the lower index."""
    rank = scores + _centred(bias, scores.dtype)
    # Every rank is finite, so minus infinity can mark what is taken or may not be.
    limits = torch.finfo(rank.dtype)
    rank.nan_to_num_(nan=limits.min, posinf=limits.max, neginf=limits.min)
    if groups.n_group > 1:
        _bar_other_groups(rank, groups)
    if rank.device.type != "cpu":
        return rank.sort(dim=-1, descending=True, stable=True).indices[:, :top_k]
    return _best_first(rank, top_k)


def replayed(live: Tensor, recorded: Tensor) -> Tensor:
    """[T, k] int64: the recorded experts, or the live ones in rows without a record."""
    recorded = recorded.to(live.device, torch.int64)
    return torch.where((recorded < 0).any(1, keepdim=True), live, recorded)


def count_experts(experts: Tensor, num_experts: int, counted: Tensor | None = None) -> Tensor:
    """experts [T, k] -> tokens per expert [E] int64, of the tokens counted [T] bool (None: all).

    Nothing waits for the device: the sum of whole numbers is exact in any order.
    """
    ones = torch.ones_like(experts) if counted is None else counted[:, None].expand_as(experts).to(torch.int64)
    counts = torch.zeros(num_experts, dtype=torch.int64, device=experts.device)
    return counts.scatter_add_(0, experts.flatten(), ones.flatten())


def _check(logits: Tensor, top_k: int, groups: Groups, recorded: Tensor | None) -> None:
    num_experts = logits.shape[1]
    if num_experts % groups.n_group or not 1 <= groups.topk_group <= groups.n_group:
        raise ValueError(
            f"n_group {groups.n_group} and topk_group {groups.topk_group} do not fit {num_experts} experts"
        )
    if top_k > num_experts // groups.n_group * groups.topk_group:
        raise ValueError(f"{top_k} experts per token cannot come from {groups.topk_group} of {groups.n_group} groups")
    if recorded is not None:
        check_record(recorded, len(logits), top_k, num_experts)


def check_record(recorded: Tensor, num_tokens: int, top_k: int, num_experts: int) -> None:
    """Raises ValueError when experts to replay do not fit the tokens or name an expert that is not there."""
    if recorded.shape != (num_tokens, top_k):
        raise ValueError(f"recorded experts must be {(num_tokens, top_k)}, got {tuple(recorded.shape)}")
    if recorded.device.type == "cpu" and recorded.numel() and int(recorded.max()) >= num_experts:
        raise ValueError(f"recorded expert {int(recorded.max())} is not one of {num_experts}")


def _centred(bias: Tensor, dtype: torch.dtype) -> Tensor:
    return (bias - bias.mean()).to(dtype)


def _bar_other_groups(rank: Tensor, groups: Groups) -> None:
    by_group = rank.unflatten(1, (groups.n_group, -1))
    worth = by_group.sort(dim=-1, descending=True).values[..., :2].sum(-1)
    best = worth.sort(dim=-1, descending=True, stable=True).indices[:, : groups.topk_group]
    barred = torch.ones_like(worth, dtype=torch.bool).scatter_(1, best, False)
    by_group.masked_fill_(barred[..., None], float("-inf"))


def _best_first(rank: Tensor, top_k: int) -> Tensor:
    """k times the first largest; numpy looks through a row several times faster than torch. Overwrites rank."""
    picks = torch.empty((len(rank), top_k), dtype=torch.int64)
    for place in range(top_k):
        picks[:, place] = torch.from_numpy(rank.numpy().argmax(1))
        rank.scatter_(1, picks[:, place : place + 1], float("-inf"))
    return picks


class _ChosenWeights(torch.autograd.Function):
    """w_j = scale s_j / S with S = sum s;  ds_j = (scale / S) (dw_j - sum_i dw_i s_i / S);  dz = ds s (1 - s)."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, scores: Tensor, experts: Tensor, scale: float, normalise: bool) -> Tensor:
        chosen = scores.gather(1, experts)
        total = chosen.sum(-1, keepdim=True).add_(_TINY) if normalise else None
        ctx.save_for_backward(chosen, total, experts)
        ctx.scale, ctx.shape = scale, logits.shape
        return (chosen if total is None else chosen / total) * scale

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None, None]:
        chosen, total, experts = ctx.saved_tensors
        if total is not None:
            grad = (grad - (grad * chosen).sum(-1, keepdim=True) / total) / total
        inner = grad * chosen * (1 - chosen) * ctx.scale
        # A replayed row may name one expert twice: add, do not overwrite.
        return inner.new_zeros(ctx.shape).scatter_add_(1, experts, inner), None, None, None, None
