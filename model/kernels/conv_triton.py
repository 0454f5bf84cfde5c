# mypy: allow-incomplete-defs
"""The causal convolution on a GPU: one pass forward, one pass backward, one update for decoding.

A program covers a tile of rows by channels and reads the K-1 rows before it through the cache, so the stream moves
through memory once. The input may be a column slice of in_proj's output: only its row stride enters. Backward, the
pre-activation of the K rows that a token feeds is computed again from x, so nothing but the inputs is kept; weight
gradients leave as one partial sum per few tiles of rows, the same at each run. Accumulation is fp32.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.conv_state import head_gradient, state_gradient
from model.kernels.triton_layout import triton_layout
from model.kernels.triton_numerics import cast, sigmoid
from model.kernels.triton_support import blocks, next_power_of_2
from model.layout import PackedLayout

# Reasoned for Hopper, not yet measured: 64 channels of bf16 are a full line of memory; 16 rows repay the reading of the
# 3 before them, and 8 warps keep the shifted tiles of the backward pass in registers.
_ROWS, _CHANNELS, _WARPS = 16, 64, 8
# Tiles of rows that share one partial sum, so that these stay a twentieth of the traffic.
_TILES_PER_SUM = 8


def triton_causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor, layout: PackedLayout, initial_state: Tensor | None = None
) -> Tensor:
    """As `causal_conv`, for fp32, bf16 and fp16."""
    result: Tensor = _TritonConv.apply(x, weight, bias, layout, initial_state)
    return result


def triton_causal_conv_step(
    x: Tensor, state: Tensor, weight: Tensor, bias: Tensor, slots: Tensor | None = None
) -> Tensor:
    """As `causal_conv_step`, without autograd; state [S, K-1, C] is shifted in place."""
    batch, channels = x.shape
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    block = min(_CHANNELS, next_power_of_2(channels))
    _update_kernel[(batch * blocks(channels, block),)](
        x,
        state,
        weight,
        bias,
        y if slots is None else slots,
        y,
        stride=x.stride(0),
        stride_slot=state.stride(0),
        CHANNELS=channels,
        WIDTH=len(weight) - 1,
        HAS_SLOTS=slots is not None,
        BLOCK_C=block,
        num_warps=1,
    )
    return y


@triton.jit
def _value(
    x, state, t, position, sequence, column, offset, back, stride, num_tokens, WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr, HAS_STATE: tl.constexpr,
):  # fmt: skip
    """x at rows t + offset [T, C] in fp32, which lie `back` rows before rows of this position and sequence."""
    row = t + offset
    real = (row >= 0) & (row < num_tokens)
    in_c = column[None, :] < CHANNELS
    value = tl.load(x + row[:, None] * stride + column[None, :], mask=real[:, None] & in_c, other=0.0).to(tl.float32)
    value = tl.where((position >= back)[:, None], value, 0.0)
    if HAS_STATE:
        older = (position >= 0) & (position < back)
        held = (sequence.to(tl.int64) + 1) * WIDTH + position - back
        at = state + held[:, None] * CHANNELS + column[None, :]
        value += tl.load(at, mask=older[:, None] & in_c, other=0.0).to(tl.float32)
    return value


@triton.jit
def _pre_activation(
    x, state, weight, bias, t, position, sequence, column, ahead, stride, num_tokens, WIDTH: tl.constexpr,
    CHANNELS: tl.constexpr, HAS_STATE: tl.constexpr,
):  # fmt: skip
    """b + sum_k w_k x_{t + ahead - K + 1 + k}; position and sequence are those of rows t + ahead."""
    in_c = column < CHANNELS
    total = tl.load(bias + column, mask=in_c, other=0.0).to(tl.float32)[None, :]
    for back in tl.static_range(WIDTH + 1):
        tap = tl.load(weight + (WIDTH - back) * CHANNELS + column, mask=in_c, other=0.0).to(tl.float32)
        total = total + tap[None, :] * _value(
            x, state, t, position, sequence, column, ahead - back, back, stride, num_tokens, WIDTH, CHANNELS, HAS_STATE
        )
    return total


@triton.jit
def _forward_kernel(
    x,
    weight,  # [K, C]
    bias,
    state,  # [B, K-1, C] or anything without HAS_STATE
    sequence,  # [T]
    position,  # [T]
    y,  # out [T, C]
    stride,
    num_tokens,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_STATE: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    across: tl.constexpr = (CHANNELS + BLOCK_C - 1) // BLOCK_C
    t = (tl.program_id(0) // across).to(tl.int64) * BLOCK_T + tl.arange(0, BLOCK_T)
    column = tl.program_id(0) % across * BLOCK_C + tl.arange(0, BLOCK_C)
    real = t < num_tokens
    place = tl.load(position + t, mask=real, other=-1)
    owner = tl.load(sequence + t, mask=real, other=0)
    pre = _pre_activation(
        x, state, weight, bias, t, place, owner, column, 0, stride, num_tokens, WIDTH, CHANNELS, HAS_STATE
    )
    target = y + t[:, None] * CHANNELS + column[None, :]
    out = cast(pre * sigmoid(pre), y.dtype.element_ty)
    tl.store(target, out, mask=real[:, None] & (column[None, :] < CHANNELS))


@triton.jit
def _backward_kernel(
    x,
    weight,
    bias,
    state,
    dy,  # [T, C], rows stride_dy apart
    sequence,
    position,
    dx,  # out [T, C]
    partial,  # out [parts, K + 1, C] fp32, a part for TILES tiles of rows: gradients of the taps, then of the bias
    stride,
    stride_dy,
    num_tokens,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_STATE: tl.constexpr,
    TILES: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_T: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    across: tl.constexpr = (CHANNELS + BLOCK_C - 1) // BLOCK_C
    part = tl.program_id(0) // across
    column = tl.program_id(0) % across * BLOCK_C + tl.arange(0, BLOCK_C)
    in_c = column < CHANNELS
    index = tl.arange(0, BLOCK_S)[:, None]
    sums = tl.zeros((BLOCK_S, BLOCK_C), tl.float32)
    for tile in range(0, TILES):
        t = (part * TILES + tile).to(tl.int64) * BLOCK_T + tl.arange(0, BLOCK_T)
        real = t < num_tokens
        own = tl.load(position + t, mask=real, other=-1)
        owner = tl.load(sequence + t, mask=real, other=0)
        total = tl.zeros((BLOCK_T, BLOCK_C), tl.float32)
        for ahead in tl.static_range(WIDTH + 1):
            # The row `ahead` of this one, as long as it belongs to the same sequence.
            place = tl.load(position + t + ahead, mask=t + ahead < num_tokens, other=-1)
            reached = real & (place == own + ahead)
            pre = _pre_activation(
                x, state, weight, bias, t, place, owner, column, ahead, stride, num_tokens, WIDTH, CHANNELS, HAS_STATE
            )
            gate = sigmoid(pre)
            at = dy + (t[:, None] + ahead) * stride_dy + column[None, :]
            grad = tl.load(at, mask=reached[:, None] & in_c[None, :], other=0.0).to(tl.float32)
            d_pre = tl.where(reached[:, None], grad * gate * (1 + pre * (1 - gate)), 0.0)
            tap = tl.load(weight + (WIDTH - ahead) * CHANNELS + column, mask=in_c, other=0.0).to(tl.float32)
            total += d_pre * tap[None, :]
            if ahead == 0:
                sums += tl.where(index == WIDTH + 1, tl.sum(d_pre, 0)[None, :], 0.0)
                for back in tl.static_range(WIDTH + 1):
                    value = _value(
                        x, state, t, own, owner, column, -back, back, stride, num_tokens, WIDTH, CHANNELS, HAS_STATE
                    )
                    sums += tl.where(index == WIDTH - back, tl.sum(d_pre * value, 0)[None, :], 0.0)
        target = dx + t[:, None] * CHANNELS + column[None, :]
        tl.store(target, cast(total, dx.dtype.element_ty), mask=real[:, None] & in_c[None, :])
    target = partial + (part.to(tl.int64) * (WIDTH + 2) + index) * CHANNELS + column[None, :]
    tl.store(target, sums, mask=(index < WIDTH + 2) & in_c[None, :])


@triton.jit
def _update_kernel(
    x,
    state,  # [S, K-1, C], shifted in place
    weight,
    bias,
    slots,  # [B] or anything without HAS_SLOTS
    y,  # out [B, C]
    stride,
    stride_slot,
    CHANNELS: tl.constexpr,
    WIDTH: tl.constexpr,
    HAS_SLOTS: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    across: tl.constexpr = (CHANNELS + BLOCK_C - 1) // BLOCK_C
    row = (tl.program_id(0) // across).to(tl.int64)
    column = tl.program_id(0) % across * BLOCK_C + tl.arange(0, BLOCK_C)
    in_c = column < CHANNELS
    slot = row
    if HAS_SLOTS:
        slot = tl.load(slots + row).to(tl.int64)
    held = state + slot * stride_slot + column
    new = tl.load(x + row * stride + column, mask=in_c, other=0.0).to(tl.float32)
    new = cast(new, state.dtype.element_ty)
    tap = tl.load(weight + WIDTH * CHANNELS + column, mask=in_c, other=0.0).to(tl.float32)
    total = tl.load(bias + column, mask=in_c, other=0.0).to(tl.float32) + tap * new.to(tl.float32)
    for k in tl.static_range(WIDTH):
        old = tl.load(held + k * CHANNELS, mask=in_c, other=0.0)
        tap = tl.load(weight + k * CHANNELS + column, mask=in_c, other=0.0).to(tl.float32)
        total += tap * old.to(tl.float32)
        if k > 0:
            tl.store(held + (k - 1) * CHANNELS, old, mask=in_c)
    tl.store(held + (WIDTH - 1) * CHANNELS, new, mask=in_c)
    out = cast(total * sigmoid(total), y.dtype.element_ty)
    tl.store(y + row * CHANNELS + column, out, mask=in_c)


def _tile(channels: int) -> dict[str, int]:
    return {"BLOCK_T": _ROWS, "BLOCK_C": min(_CHANNELS, next_power_of_2(channels))}


class _TritonConv(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, layout: PackedLayout, initial_state: Tensor | None
    ) -> Tensor:
        x = x if x.stride(-1) == 1 else x.contiguous()
        state = None if initial_state is None else initial_state.contiguous()
        rows, (total, channels) = triton_layout(layout), x.shape
        y = torch.empty((total, channels), device=x.device, dtype=x.dtype)
        tile = _tile(channels)
        _forward_kernel[(blocks(total, _ROWS) * blocks(channels, tile["BLOCK_C"]),)](
            x,
            weight.contiguous(),
            bias,
            y if state is None else state,
            rows.sequence,
            rows.position,
            y,
            stride=x.stride(0),
            num_tokens=total,
            CHANNELS=channels,
            WIDTH=len(weight) - 1,
            HAS_STATE=state is not None,
            **tile,
            num_warps=_WARPS,
        )
        ctx.save_for_backward(x, weight, bias, *(() if state is None else (state,)))
        ctx.layout = layout
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, *given = ctx.saved_tensors
        state = given[0] if given else None
        layout: PackedLayout = ctx.layout
        grad = grad if grad.stride(-1) == 1 else grad.contiguous()
        rows, (total, channels) = triton_layout(layout), x.shape
        dx = torch.empty((total, channels), device=x.device, dtype=x.dtype)
        tile, parts = _tile(channels), blocks(total, _ROWS * _TILES_PER_SUM)
        partial = torch.empty((parts, len(weight) + 1, channels), device=x.device, dtype=torch.float32)
        _backward_kernel[(parts * blocks(channels, tile["BLOCK_C"]),)](
            x,
            weight.contiguous(),
            bias,
            dx if state is None else state,
            grad,
            rows.sequence,
            rows.position,
            dx,
            partial,
            stride=x.stride(0),
            stride_dy=grad.stride(0),
            num_tokens=total,
            CHANNELS=channels,
            WIDTH=len(weight) - 1,
            HAS_STATE=state is not None,
            TILES=_TILES_PER_SUM,
            BLOCK_S=next_power_of_2(len(weight) + 1),
            **tile,
            num_warps=_WARPS,
        )
        sums = partial.sum(0)
        d_state = None
        if state is not None and ctx.needs_input_grad[4]:
            d_state = state_gradient(head_gradient(x, weight, bias, layout, state, grad), weight).to(state.dtype)
        return dx, sums[:-1].to(weight.dtype), sums[-1].to(bias.dtype), None, d_state
