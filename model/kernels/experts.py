"""Routed experts without a gate: y = sum over chosen e of w_e down_e(relu(up_e x)^2).

Both projections are stored [E, I, D] (the released down_proj transposed), so that tokens sorted by expert meet
contiguous blocks. T tokens, k experts per token, M = T*k pairs sorted by expert.

Backward: with r = relu(up x), a = r^2, g the gradient of the output and g' = g down^T,
dw = <a, g'>,  dz = 2 r g' w,  dx = dz up,  dup = dz^T x,  ddown = (w a)^T g:
no expert's output is ever kept, for the weight's gradient does not need it (SonicMoE, 2512.14080).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels import triton_support
from model.kernels.experts_cpu import routed_experts_cpu
from model.kernels.router import Routing


def routed_experts(x: Tensor, routing: Routing, up: Tensor, down: Tensor) -> Tensor:
    """x [T, D], up and down [E, I, D] -> [T, D] in the dtype of x."""
    if triton_support.wanted(x):
        from model.kernels.experts_triton import triton_routed_experts

        return triton_routed_experts(x, routing.experts, routing.weights, up, down)
    if x.device.type == "cpu":
        return routed_experts_cpu(x, routing.experts, routing.weights, up, down)
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
