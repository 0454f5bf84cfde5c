"""Root-mean-square norms: y = x / sqrt(mean(x^2) + eps) * w, weight applied in fp32 (Zhang & Sennrich, 1910.07467).

The form with a residual adds first and hands the sum back, rounded as it will be read again, so fused equals unfused.
The gated form of Mamba-2 multiplies by silu(z) before it normalises, each group of channels on its own.
Backward, with n = x / rms and g = dy w:  dx = (g - n mean(g n)) / rms,  dw = sum over tokens of dy n.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels import triton_support
from model.kernels.native import norm as native


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """[..., D] normalised over the last dimension; result in the dtype of x."""
    if triton_support.wanted(x):
        from model.kernels.norm_triton import triton_rms_norm

        return triton_rms_norm(x, weight, eps)
    if native.takes(x, weight):
        return native.native_rms_norm(x, weight, eps)
    if x.device.type == "cpu":
        result: Tensor = _RMSNorm.apply(x, weight, eps)
        return result
    return rms_norm_reference(x, weight, eps)


def add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x, residual [..., D] -> (norm of x + residual in the dtype of x, the sum in the dtype of residual)."""
    if triton_support.wanted(x):
        from model.kernels.norm_triton import triton_add_rms_norm

        return triton_add_rms_norm(x, residual, weight, eps)
    total = residual + x.to(residual.dtype)
    return rms_norm(total, weight, eps).to(x.dtype), total


def gated_rms_norm(y: Tensor, z: Tensor, weight: Tensor, eps: float, num_groups: int) -> Tensor:
    """RMSNorm of y * silu(z), [T, D] in num_groups equal groups; result in the dtype of y."""
    if triton_support.wanted(y):
        from model.kernels.norm_triton import triton_gated_rms_norm

        return triton_gated_rms_norm(y, z, weight, eps, num_groups)
    if y.device.type == "cpu":
        result: Tensor = _GatedRMSNorm.apply(y, z, weight, eps, num_groups)
        return result
    return gated_rms_norm_reference(y, z, weight, eps, num_groups)


def rms_norm_reference(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """The specification."""
    wide = x.to(_compute_dtype(x))
    normalised = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
    return (normalised * weight.to(wide.dtype)).to(x.dtype)


def add_rms_norm_reference(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """The specification."""
    total = residual + x.to(residual.dtype)
    return rms_norm_reference(total, weight, eps).to(x.dtype), total


def gated_rms_norm_reference(y: Tensor, z: Tensor, weight: Tensor, eps: float, num_groups: int) -> Tensor:
    """The specification."""
    dtype = _compute_dtype(y)
    gated = (y.to(dtype) * F.silu(z.to(dtype))).unflatten(-1, (num_groups, -1))
    normalised = gated * torch.rsqrt(gated.square().mean(-1, keepdim=True) + eps)
    return (normalised.flatten(-2) * weight.to(dtype)).to(y.dtype)


def _compute_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _normalise(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """x / rms(x) and 1 / rms(x) over the last dimension."""
    rrms = (x * x).mean(-1, keepdim=True).add_(eps).rsqrt_()
    return x * rrms, rrms


def _normalise_backward(grad: Tensor, normalised: Tensor, rrms: Tensor) -> Tensor:
    """Gradient of x / rms(x): (g - n mean(g n)) / rms. Overwrites nothing it was given."""
    inner = (grad * normalised).mean(-1, keepdim=True)
    return torch.addcmul(grad, normalised, inner, value=-1).mul_(rrms)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        normalised, rrms = _normalise(x.to(_compute_dtype(x)), eps)
        ctx.save_for_backward(normalised, rrms, weight)
        return (normalised * weight.to(normalised.dtype)).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None]:
        normalised, rrms, weight = ctx.saved_tensors
        wide = grad.to(normalised.dtype)
        grad_weight = None
        if ctx.needs_input_grad[1]:
            grad_weight = (wide * normalised).flatten(0, -2).sum(0).to(weight.dtype)
        grad_x = _normalise_backward(wide * weight.to(wide.dtype), normalised, rrms)
        return grad_x.to(grad.dtype), grad_weight, None


class _GatedRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, y: Tensor, z: Tensor, weight: Tensor, eps: float, num_groups: int) -> Tensor:
        dtype = _compute_dtype(y)
        silu = F.silu(z.to(dtype))
        normalised, rrms = _normalise((y.to(dtype) * silu).unflatten(-1, (num_groups, -1)), eps)
        ctx.save_for_backward(y, z, silu, normalised, rrms, weight)
        return (normalised.flatten(-2) * weight.to(dtype)).to(y.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        y, z, silu, normalised, rrms, weight = ctx.saved_tensors
        wide = grad.to(normalised.dtype)
        grad_weight = None
        if ctx.needs_input_grad[2]:
            grad_weight = (wide * normalised.flatten(-2)).flatten(0, -2).sum(0).to(weight.dtype)
        weighted = (wide * weight.to(wide.dtype)).view_as(normalised)
        grad_gated = _normalise_backward(weighted, normalised, rrms).flatten(-2)
        grad_z = torch.ops.aten.silu_backward(grad_gated * y.to(wide.dtype), z.to(wide.dtype))
        return grad_gated.mul_(silu).to(y.dtype), grad_z.to(z.dtype), grad_weight, None, None
