"""Routed experts without a gate: y = sum over chosen e of w_e down_e(relu(up_e x)^2).

Both projections are stored [E, I, D] (the released down_proj transposed), so that tokens sorted by expert meet
contiguous blocks. T tokens, k experts per token, M = T*k pairs sorted by expert.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.linear import product
from model.kernels.router import Routing


def routed_experts(x: Tensor, routing: Routing, up: Tensor, down: Tensor) -> Tensor:
    """x [T, D], up and down [E, I, D] -> [T, D] in the dtype of x."""
    if x.device.type == "cpu":
        result: Tensor = _SortedExperts.apply(x, routing.weights, up, down, routing.experts)
        return result
    return routed_experts_reference(x, routing, up, down)


def relu_squared(x: Tensor) -> Tensor:
    """relu(x)^2, the activation of every expert."""
    result: Tensor = _ReluSquared.apply(x)
    return result


def routed_experts_reference(x: Tensor, routing: Routing, up: Tensor, down: Tensor) -> Tensor:
    """The specification: every expert looks for its tokens."""
    wide = torch.promote_types(x.dtype, torch.float32)
    y = torch.zeros_like(x, dtype=wide)
    for e in range(up.shape[0]):
        token, place = torch.where(routing.experts == e)
        hidden = torch.relu(x[token].to(wide) @ up[e].to(wide).t()).square()
        y = y.index_add(0, token, (hidden @ down[e].to(wide)) * routing.weights[token, place, None].to(wide))
    return y.to(x.dtype)


class _ReluSquared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        positive = x.relu()
        ctx.save_for_backward(positive)
        return positive * positive

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return (grad * positive).mul_(2)


class _Order(NamedTuple):
    """How the T*k pairs sort by expert: token [M], inverse [M], and where each expert's block ends."""

    token: Tensor
    inverse: Tensor
    order: Tensor
    ends: list[int]


def _sort_by_expert(experts: Tensor, num_experts: int) -> _Order:
    flat = experts.flatten()
    order = flat.argsort(stable=True)
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    ends = torch.bincount(flat, minlength=num_experts).cumsum(0).tolist()
    return _Order(order // experts.shape[1], inverse, order, ends)


def _blocks(ends: list[int]) -> list[tuple[int, slice]]:
    """(expert, its rows) for every expert that has any."""
    starts = [0, *ends[:-1]]
    return [(e, slice(a, b)) for e, (a, b) in enumerate(zip(starts, ends, strict=True)) if b > a]


class _SortedExperts(torch.autograd.Function):
    """Tokens sorted by expert, one matrix product per expert; the expert outputs are never kept.

    With r = relu(up x), a = r^2 and g the gradient of the output:
    dw = a . (g down^T), dz = 2 r (g down^T) w, dx = dz up, dup = dz^T x, ddown = (w a)^T g.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, up: Tensor, down: Tensor, experts: Tensor) -> Tensor:
        order = _sort_by_expert(experts, len(up))
        xs = x.index_select(0, order.token)
        ws = weights.flatten().index_select(0, order.order).to(x.dtype)
        r = xs.new_empty(len(xs), up.shape[1])
        out = torch.empty_like(xs)
        blocks = _blocks(order.ends)
        for e, rows in blocks:
            r[rows] = product(xs[rows], up[e])
        r.relu_()
        weighted = (r * r).mul_(ws[:, None])
        for e, rows in blocks:
            out[rows] = product(weighted[rows], down[e].t())
        ctx.save_for_backward(xs, ws, r, up, down)
        ctx.order, ctx.blocks, ctx.top_k, ctx.weight_dtype = order, blocks, experts.shape[1], weights.dtype
        return _combine(out, order, experts.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
        xs, ws, r, up, down = ctx.saved_tensors
        order, blocks = ctx.order, ctx.blocks
        gs = grad.index_select(0, order.token)
        gr = torch.empty_like(r)
        for e, rows in blocks:
            gr[rows] = product(gs[rows], down[e])
        a = r * r
        d_weights = (a * gr).sum(-1).index_select(0, order.inverse).view(-1, ctx.top_k)
        a.mul_(ws[:, None])
        dz = gr.mul_(r).mul_((2 * ws)[:, None])
        d_up, d_down = torch.zeros_like(up), torch.zeros_like(down)
        dxs = torch.empty_like(xs)
        for e, rows in blocks:
            dxs[rows] = product(dz[rows], up[e].t())
            torch.mm(dz[rows].t(), xs[rows], out=d_up[e])
            torch.mm(a[rows].t(), gs[rows], out=d_down[e])
        return _combine(dxs, order, ctx.top_k), d_weights.to(ctx.weight_dtype), d_up, d_down, None


def _combine(rows: Tensor, order: _Order, top_k: int) -> Tensor:
    """Sum of each token's k rows, in a fixed order: [M, D] -> [T, D]."""
    return rows.index_select(0, order.inverse).view(-1, top_k, rows.shape[-1]).sum(1)
