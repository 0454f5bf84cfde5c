# mypy: allow-incomplete-defs
"""The selective state update on a GPU: one program per row and block of channels, each state read and written once.

A program holds [N, 32] numbers of a state: 32 neighbouring channels are one full line of memory per row. At N = 128
that is 32 registers a thread in 4 warps, and 128 programs per sequence of a Nano layer. Reasoned, not yet measured.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from model.kernels.ssd_shape import SSDShape
from model.kernels.triton_numerics import cast, sigmoid, softplus
from model.kernels.triton_support import blocks, next_power_of_2

_CHANNELS = 32


def triton_state_update(
    xBC: Tensor,
    dt: Tensor,
    A: Tensor,
    D: Tensor,
    shape: SSDShape,
    state: Tensor,
    dt_bias: Tensor | None = None,
    z: Tensor | None = None,
    slots: Tensor | None = None,
) -> Tensor:
    """As `state_update`, without autograd; state in fp32, its numbers of one slot contiguous."""
    if not state[0].is_contiguous():
        raise ValueError(f"each slot's state must be contiguous, got strides {state.stride()} for {tuple(state.shape)}")
    xBC, dt = (part if part.stride(-1) == 1 else part.contiguous() for part in (xBC, dt))
    batch = len(xBC)
    y = torch.empty((batch, shape.inner), device=xBC.device, dtype=xBC.dtype)
    block = min(_CHANNELS, next_power_of_2(shape.group_width))
    _update_kernel[(batch * shape.num_groups * blocks(shape.group_width, block),)](
        xBC,
        dt,
        A,
        D,
        y if dt_bias is None else dt_bias,
        y if z is None else z,
        y if slots is None else slots,
        state,
        y,
        stride=xBC.stride(0),
        stride_dt=dt.stride(0),
        stride_z=0 if z is None else z.stride(0),
        stride_slot=state.stride(0),
        HEADS=shape.num_heads,
        GROUPS=shape.num_groups,
        P=shape.head_dim,
        N=shape.state_size,
        HAS_BIAS=dt_bias is not None,
        HAS_Z=z is not None,
        HAS_SLOTS=slots is not None,
        BLOCK_R=block,
        BLOCK_N=next_power_of_2(shape.state_size),
        num_warps=4,
    )
    return y


@triton.jit
def _update_kernel(
    xBC,
    dt,
    A,
    D,
    dt_bias,
    z,
    slots,
    state,  # [S, G, N, R*P] fp32, in place
    y,  # out [B, H*P]
    stride,
    stride_dt,
    stride_z,
    stride_slot,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    HAS_Z: tl.constexpr,
    HAS_SLOTS: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    width: tl.constexpr = HEADS // GROUPS * P
    across: tl.constexpr = (width + BLOCK_R - 1) // BLOCK_R
    pid = tl.program_id(0)
    row, group = (pid // (GROUPS * across)).to(tl.int64), pid // across % GROUPS
    r, n = pid % across * BLOCK_R + tl.arange(0, BLOCK_R), tl.arange(0, BLOCK_N)
    in_r, in_n = r < width, n < N
    channel = group * width + r
    head = channel // P
    step = tl.load(dt + row * stride_dt + head, mask=in_r, other=0.0).to(tl.float32)
    if HAS_BIAS:
        step = softplus(step + tl.load(dt_bias + head, mask=in_r, other=0.0).to(tl.float32))
    x = tl.load(xBC + row * stride + channel, mask=in_r, other=0.0).to(tl.float32)
    b_at = xBC + row * stride + HEADS * P + group * N + n
    b = tl.load(b_at, mask=in_n, other=0.0).to(tl.float32)
    c = tl.load(b_at + GROUPS * N, mask=in_n, other=0.0).to(tl.float32)
    slot = row
    if HAS_SLOTS:
        slot = tl.load(slots + row).to(tl.int64)
    at = state + slot * stride_slot + group * N * width + n[:, None] * width + r[None, :]
    held = in_n[:, None] & in_r[None, :]
    decay = tl.exp(step * tl.load(A + head, mask=in_r, other=0.0).to(tl.float32))
    new = decay[None, :] * tl.load(at, mask=held, other=0.0) + b[:, None] * (step * x)[None, :]
    tl.store(at, new, mask=held)
    out = tl.sum(c[:, None] * new, 0) + tl.load(D + head, mask=in_r, other=0.0).to(tl.float32) * x
    if HAS_Z:
        gate = tl.load(z + row * stride_z + channel, mask=in_r, other=0.0).to(tl.float32)
        out = out * gate * sigmoid(gate)
    tl.store(y + row * (HEADS * P) + channel, cast(out, y.dtype.element_ty), mask=in_r)
