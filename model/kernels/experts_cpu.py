"""The routed experts on a CPU, in the form that suits the number of tokens.

    few tokens      all experts for all of them, those not chosen weighted zero: three products, nothing sorted
    small blocks    sorted by expert, torch's grouped product: one call for all experts
    large blocks    sorted by expert, one oneDNN product per expert: faster per number, slower to start

The chosen outputs of a token are weighted and added in one pass over memory (`embedding_bag`), in a fixed order.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.experts_order import ExpertOrder, order_by_expert
from model.kernels.linear import product, product_relu, weight_gradient

# Multiply-adds spent on experts that were not chosen, per expert: below it they cost less than sorting.
_WASTE_PER_EXPERT = 1 << 19
# Multiply-adds of an average expert's product from which a call of its own is worth it.
_BLOCK_WORTH_IT = 1 << 20


def routed_experts_cpu(x: Tensor, experts: Tensor, weights: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """As `routed_experts`: x [T, D], experts and weights [T, k], up and down [E, I, D] -> [T, D]."""
    result: Tensor = _form_for(experts, up).apply(x, weights, up, down, experts)
    return result


def _form_for(experts: Tensor, up: Tensor) -> type[_AllExperts | _AllAtOnce | _ExpertByExpert]:
    num_tokens, top_k = experts.shape
    num_experts, size = len(up), up[0].numel()
    if num_tokens * (num_experts - top_k) * size <= num_experts * _WASTE_PER_EXPERT:
        return _AllExperts
    small = num_tokens * top_k * size < num_experts * _BLOCK_WORTH_IT
    return _AllAtOnce if small and _can_group(up) else _ExpertByExpert


class _AllExperts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, up: Tensor, down: Tensor, experts: Tensor) -> Tensor:
        num_experts, units, size = up.shape
        spread = weights.new_zeros(len(x), num_experts).scatter_add_(1, experts, weights).to(x.dtype)
        r = product(x, up.view(-1, size)).relu_().view(-1, num_experts, units)
        weighted = (r * r).mul_(spread[..., None]).flatten(1)
        ctx.save_for_backward(x, weights, spread, r, up, down, experts)
        return product(weighted, down.view(-1, size).t())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, spread, r, up, down, experts = ctx.saved_tensors
        size = up.shape[2]
        r_grad = product(grad, down.view(-1, size)).view_as(r).mul_(r)
        d_weights = _dot(r_grad, r).gather(1, experts)
        d_up = d_down = None
        if ctx.needs_input_grad[3]:
            weighted = (r * r).mul_(spread[..., None]).flatten(1)
            d_down = weight_gradient(weighted, grad).view_as(down)
        dz = r_grad.mul_((2 * spread)[..., None]).flatten(1)
        if ctx.needs_input_grad[2]:
            d_up = weight_gradient(dz, x).view_as(up)
        return product(dz, up.view(-1, size).t()), d_weights.to(weights.dtype), d_up, d_down, None


class _ExpertByExpert(torch.autograd.Function):
    """Each expert from its gathered rows to its outputs before the next, while they are still in cache."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, up: Tensor, down: Tensor, experts: Tensor) -> Tensor:
        order = order_by_expert(experts, len(up))
        out = x.new_empty(len(order.pair), x.shape[1])
        hidden = []
        for e, rows in _blocks(order):
            r = product_relu(x.index_select(0, order.token[rows]), up[e])
            out[rows] = product(r * r, down[e].t())
            hidden.append(r)
        ctx.save_for_backward(x, weights, up, down, *order, *hidden)
        return _combine(out, order.row, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, up, down, *parts = ctx.saved_tensors
        order, hidden = ExpertOrder(*parts[:4]), parts[4:]
        d_up = _zero_where_unused(up, order) if ctx.needs_input_grad[2] else None
        d_down = _zero_where_unused(down, order) if ctx.needs_input_grad[3] else None
        ws = weights.flatten().index_select(0, order.pair).to(x.dtype)[:, None]
        dx = x.new_empty(len(order.pair), x.shape[1])
        d_weights = weights.new_empty(len(order.pair))
        for (e, rows), r in zip(_blocks(order), hidden, strict=True):
            token, w = order.token[rows], ws[rows]
            g = grad.index_select(0, token)
            r_grad = product(g, down[e]).mul_(r)
            d_weights[rows] = _dot(r_grad, r).to(weights.dtype)
            if d_down is not None:
                d_down[e] = weight_gradient((r * w).mul_(r), g)
            dz = r_grad.mul_(2 * w)
            if d_up is not None:
                d_up[e] = weight_gradient(dz, x.index_select(0, token))
            dx[rows] = product(dz, up[e].t())
        d_weights = d_weights.index_select(0, order.row.flatten()).view_as(weights)
        return _combine(dx, order.row, None), d_weights, d_up, d_down, None


class _AllAtOnce(torch.autograd.Function):
    """Sorted rows through torch's grouped product, one call for all experts."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, up: Tensor, down: Tensor, experts: Tensor) -> Tensor:
        order = order_by_expert(experts, len(up))
        ends = order.ends.to(torch.int32)
        r = F.grouped_mm(x.index_select(0, order.token), up.mT, offs=ends).relu_()
        ctx.save_for_backward(x, weights, r, up, down, *order)
        return _combine(F.grouped_mm(r * r, down, offs=ends), order.row, weights)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, r, up, down, *parts = ctx.saved_tensors
        order = ExpertOrder(*parts)
        ends = order.ends.to(torch.int32)
        g = grad.index_select(0, order.token)
        w = weights.flatten().index_select(0, order.pair).to(r.dtype)[:, None]
        r_grad = F.grouped_mm(g, down.mT, offs=ends).mul_(r)
        d_weights = _dot(r_grad, r).index_select(0, order.row.flatten()).view_as(weights)
        d_up = d_down = None
        if ctx.needs_input_grad[3]:
            d_down = F.grouped_mm((r * w).mul_(r).t(), g, offs=ends)
        dz = r_grad.mul_(2 * w)
        if ctx.needs_input_grad[2]:
            d_up = F.grouped_mm(dz.t(), x.index_select(0, order.token), offs=ends)
        dx = _combine(F.grouped_mm(dz, up, offs=ends), order.row, None)
        return dx, d_weights.to(weights.dtype), d_up, d_down, None


def _blocks(order: ExpertOrder) -> Iterator[tuple[int, slice]]:
    """(expert, its rows) for every expert that has any."""
    start = 0
    for e, end in enumerate(order.ends.tolist()):
        if end > start:
            yield e, slice(start, end)
        start = end


def _zero_where_unused(weight: Tensor, order: ExpertOrder) -> Tensor:
    """Room for a gradient; only the experts without tokens are written."""
    gradient = torch.empty_like(weight)
    used = {e for e, _ in _blocks(order)}
    for e in range(len(weight)):
        if e not in used:
            gradient[e].zero_()
    return gradient


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """Sum of a b over the last dimension, in fp32 at least."""
    wide = torch.promote_types(a.dtype, torch.float32)
    return torch.linalg.vecdot(a.to(wide), b.to(wide))


def _combine(rows: Tensor, row: Tensor, weights: Tensor | None) -> Tensor:
    """rows [M, D], row [T, k] -> [T, D]: each token's k rows, weighted and added in fp32 at least."""
    wide = torch.promote_types(rows.dtype, torch.float32)
    scale = None if weights is None else weights.to(wide)
    return F.embedding_bag(row, rows.to(wide), mode="sum", per_sample_weights=scale).to(rows.dtype)


def _can_group(weight: Tensor) -> bool:
    """Whether torch's grouped product takes this weight: some dtypes, rows of whole 16 bytes."""
    lined_up = all(size * weight.element_size() % 16 == 0 for size in weight.shape[1:])
    return lined_up and weight.is_contiguous() and _grouped_product_takes(weight.dtype)


@lru_cache
def _grouped_product_takes(dtype: torch.dtype) -> bool:
    """torch adds dtypes and devices from release to release, so ask it."""
    if not hasattr(F, "grouped_mm"):
        return False
    try:
        F.grouped_mm(torch.ones(1, 16, dtype=dtype), torch.ones(1, 16, 16, dtype=dtype), offs=torch.ones(1).int())
    except (RuntimeError, NotImplementedError):
        return False
    return True
