"""Products with a weight matrix: y = x W^T, alone or added to a residual.

On a CPU in fp32 the larger products go to oneDNN, which on the machines measured runs them about twice as fast as the
BLAS behind torch.mm (4096 x 64 x 320: 0.75 ms against 1.85 ms on one core of a Zen 5); the smallest stay with
torch.mm, whose calls start sooner. The gradients are products of the same kind.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

# Multiply-adds from which a oneDNN call repays its start.
_WORTH_IT = 1 << 20
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """x [T, I], weight [O, I] -> [T, O]."""
    if x.device.type == "cpu" and torch.is_grad_enabled():
        result: Tensor = _Linear.apply(x, weight, None)
        return result
    return product(x, weight)


def linear_add(residual: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """residual [T, O] + x W^T."""
    if x.device.type == "cpu" and torch.is_grad_enabled():
        result: Tensor = _Linear.apply(x, weight, residual)
        return result
    return product_add(residual, x, weight)


def linear_reference(x: Tensor, weight: Tensor, residual: Tensor | None = None) -> Tensor:
    """The specification."""
    wide = torch.promote_types(x.dtype, torch.float32)
    y = torch.einsum("ti,oi->to", x.to(wide), weight.to(wide))
    return (y if residual is None else residual.to(wide) + y).to(x.dtype)


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x W^T without autograd."""
    if _goes_to_onednn(x, weight):
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
        return result
    return torch.mm(x, weight.t())


def product_relu(x: Tensor, weight: Tensor) -> Tensor:
    """relu(x W^T) without autograd."""
    if _goes_to_onednn(x, weight):
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "relu", [], "")
        return result
    return torch.mm(x, weight.t()).relu_()


def product_add(residual: Tensor, x: Tensor, weight: Tensor) -> Tensor:
    """residual + x W^T without autograd."""
    if _goes_to_onednn(x, weight):
        result: Tensor = torch.ops.mkldnn._linear_pointwise.binary(x, residual, weight, None, "add")
        return result
    return torch.addmm(residual, x, weight.t())


def weight_gradient(grad: Tensor, x: Tensor) -> Tensor:
    """grad^T x, [T, O] and [T, I] -> [O, I], without autograd."""
    # oneDNN copies its first operand to transpose it, so the narrower one goes there.
    if grad.shape[1] <= x.shape[1]:
        return product(grad.t(), x.t())
    return product(x.t(), grad.t()).t()


def _goes_to_onednn(x: Tensor, weight: Tensor) -> bool:
    return (
        _HAS_ONEDNN
        and x.dtype == torch.float32
        and x.device.type == "cpu"
        and x.shape[0] * x.shape[1] * weight.shape[0] >= _WORTH_IT
    )


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, residual: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_residual = residual is not None
        return product(x, weight) if residual is None else product_add(residual, x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        grad_x = product(grad, weight.t()) if ctx.needs_input_grad[0] else None
        grad_weight = weight_gradient(grad, x) if ctx.needs_input_grad[1] else None
        return grad_x, grad_weight, grad if ctx.has_residual else None
