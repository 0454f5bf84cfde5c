# mypy: allow-incomplete-defs
"""Quantising to FP8 on a GPU in one pass: read, divide, clamp, cast, write (3 bytes a number from bf16).

The scale stays on the device: nothing waits for it. Launch parameters are reasoned for Hopper, not yet measured.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from model.kernels.triton_numerics import INTERPRETED
from model.kernels.triton_support import blocks

_BLOCK = 4096


@triton.jit
def to_e4m3(value):
    """fp32 within +-448, or NaN -> float8_e4m3fn, rounded to nearest even."""
    if INTERPRETED:
        # The interpreter (3.9) rounds halves up and loses the carry and NaN, so the bits are put together here.
        bits = value.to(tl.uint32, bitcast=True)
        magnitude = bits & 0x7FFFFFFF
        normal = ((magnitude + 0x7FFFF + ((magnitude >> 20) & 1)) >> 20).to(tl.int32) - (120 << 3)
        # Below 2^-6 steps are 2^-9: adding 1.5 * 2^23 rounds to whole steps.
        below = tl.minimum(tl.abs(value), 1.0)
        subnormal = ((below * 512.0 + 12582912.0) - 12582912.0).to(tl.int32)
        code = tl.where(magnitude < (121 << 23), subnormal, normal)
        code = tl.where(value == value, code, 0x7F) | ((bits >> 24) & 0x80).to(tl.int32)
        return code.to(tl.uint8).to(tl.float8e4nv, bitcast=True)
    else:
        return value.to(tl.float8e4nv)


@triton.jit
def quantise_kernel(
    x,  # [N]
    scale,  # [1] fp32
    q,  # out [N] float8_e4m3fn
    num_numbers,
    BLOCK: tl.constexpr,
):
    place = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = place < num_numbers
    value = tl.load(x + place, mask=inside, other=0.0).to(tl.float32)
    # Rounded as IEEE division rounds: the quick one is off by a bit now and then, and so would be the result.
    value = tl.div_rn(value, tl.load(scale))
    # Written so that a NaN stays one.
    value = tl.where(value > 448.0, 448.0, tl.where(value < -448.0, -448.0, value))
    tl.store(q + place, to_e4m3(value), mask=inside)


def triton_quantise(x: Tensor, scale: Tensor) -> Tensor:
    """As `quantise`."""
    flat = x.contiguous()
    q = torch.empty(x.shape, dtype=torch.float8_e4m3fn, device=x.device)
    if x.numel():
        grid = (blocks(x.numel(), _BLOCK),)
        quantise_kernel[grid](flat, scale.float().reshape(1), q, x.numel(), BLOCK=_BLOCK, num_warps=8)
    return q
