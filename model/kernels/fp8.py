"""FP8 (e4m3) with one static scale per tensor: q = clamp(x / s, +-448), x' = q s (2209.05433; ModelOpt's static e4m3).

    scale        s = amax / 448, fp32: the largest number seen in calibration becomes the largest that e4m3 holds
    fake quant   x -> x' in the dtype of x, bit for bit what a saved and loaded FP8 weight gives; its gradient passes
                 where x was not clamped (straight-through)
    product      x' W'^T with both operands in FP8: q_x q_W^T in fp32, times s_x s_W

Always clamped before the cast: some builds saturate there and others make a NaN. Everything below 2^-10 s is zero.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels import triton_support

E4M3 = torch.float8_e4m3fn
LARGEST = 448.0


def scale_of(amax: Tensor) -> Tensor:
    """Largest magnitude seen (a number, or one per tensor) -> fp32 scale. A tensor of zeros has scale 1.

    Raises ValueError when amax is not finite: such a calibration would turn every number into zero or NaN.
    """
    amax = amax.to(torch.float32)
    if not bool(torch.isfinite(amax).all()):
        raise ValueError(f"amax must be finite, got {amax.tolist()}: the calibration saw a number that is not")
    # A scale that underflows would divide by zero.
    return torch.where(amax > 0, (amax / LARGEST).clamp_(min=torch.finfo(torch.float32).tiny), torch.ones_like(amax))


def quantise(x: Tensor, scale: Tensor) -> Tensor:
    """x of any shape, scale fp32 scalar -> float8_e4m3fn of the same shape; not-a-number stays."""
    if triton_support.wanted(x):
        from model.kernels.fp8_triton import triton_quantise

        return triton_quantise(x, scale)
    return quantise_reference(x, scale)


def quantise_reference(x: Tensor, scale: Tensor) -> Tensor:
    """The specification: divide and clamp in fp32, then round to nearest even."""
    return (x.to(torch.float32) / scale.to(torch.float32)).clamp_(-LARGEST, LARGEST).to(E4M3)


def dequantise(q: Tensor, scale: Tensor, dtype: torch.dtype) -> Tensor:
    """float8 q and fp32 scale -> q s, multiplied in fp32 and rounded once to `dtype`."""
    return (q.to(torch.float32) * scale.to(torch.float32)).to(dtype)


def fake_quantise(x: Tensor, scale: Tensor) -> Tensor:
    """x -> dequantise(quantise(x)), same shape and dtype; the gradient is that of clamp(x, +-448 s)."""
    result: Tensor = _FakeQuantise.apply(x, scale)
    return result


def linear_fp8(x: Tensor, q_weight: Tensor, x_scale: Tensor, weight_scale: Tensor) -> Tensor:
    """x [T, I] with its static scale, q_weight [O, I] float8 -> [T, O] in the dtype of x.

    Through `torch._scaled_mm` where it takes these operands, else emulated: the same up to fp32 rounding.
    """
    q = quantise(x.detach(), x_scale)
    if scaled_product_takes(q, q_weight):
        # Both scales are single fp32 numbers; the second operand is column-major, as the library wants it.
        y: Tensor = torch._scaled_mm(
            q, q_weight.t(), scale_a=x_scale.float(), scale_b=weight_scale.float(), out_dtype=_out_dtype(x)
        )
        return y.to(x.dtype)
    return linear_fp8_reference(x, q_weight, x_scale, weight_scale)


def linear_fp8_reference(x: Tensor, q_weight: Tensor, x_scale: Tensor, weight_scale: Tensor) -> Tensor:
    """The specification: products and sums in fp32, the scales at the end."""
    q = quantise_reference(x.detach(), x_scale)
    y = torch.mm(q.to(torch.float32), q_weight.to(torch.float32).t())
    return (y * (x_scale.float() * weight_scale.float())).to(x.dtype)


def scaled_product_takes(q: Tensor, q_weight: Tensor) -> bool:
    """Whether `torch._scaled_mm` multiplies these: inner and outer sizes in sixteens, and a device that can."""
    sizes = q.shape[0] > 0 and q.shape[1] % 16 == 0 and q_weight.shape[0] % 16 == 0
    return sizes and _has_scaled_product(q.device.type, q.device.index)


@lru_cache
def _has_scaled_product(kind: str, index: int | None) -> bool:
    """torch adds devices from release to release, so ask it."""
    place = torch.device(kind, index) if index is not None else torch.device(kind)
    one = torch.ones((), device=place)
    q = torch.ones(16, 16, device=place).to(E4M3)
    try:
        torch._scaled_mm(q, q.t(), scale_a=one, scale_b=one, out_dtype=torch.bfloat16)
    except (RuntimeError, NotImplementedError, AttributeError):
        return False
    return True


def _out_dtype(x: Tensor) -> torch.dtype:
    return x.dtype if x.dtype in (torch.bfloat16, torch.float16) else torch.float32


class _FakeQuantise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return dequantise(quantise(x, scale), scale, x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        x, scale = ctx.saved_tensors
        clamped = x.to(torch.float32).abs() > LARGEST * scale.to(torch.float32)
        return grad.masked_fill(clamped, 0), None
