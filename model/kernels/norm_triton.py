# mypy: allow-incomplete-defs
"""The norms on a GPU: one pass over memory forward, one backward, for all three forms.

A program works on a tile of rows of one group (a plain norm is one group). Forward keeps 1 / rms per row and group
[T, G]; backward reads the inputs again. The gradient of the weight is added up in fp32 by each program over its own
run of rows and the runs are summed afterwards, so the result does not depend on which program ends first.

Launch parameters are reasoned for Hopper (4.8 TB/s, 132 multiprocessors), not yet measured: tiles of about 4096
numbers keep enough loads in flight, twice the warps hold what the backward keeps per number in registers, and about
1000 programs fill the device in the backward.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.triton_numerics import cast
from model.kernels.triton_support import blocks, next_power_of_2

_TILE = 4096
_BACKWARD_PROGRAMS = 1024


@triton.jit
def norm_forward_kernel(
    x,  # [T, G*S], rows stride_x apart
    other,  # [T, G*S]: the gate z, or the residual
    weight,  # [G*S]
    y,  # out [T, G*S]
    total,  # out [T, G*S]: x + residual
    rrms,  # out [T, G] fp32
    num_rows,
    stride_x,
    stride_other,
    eps,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GATED: tl.constexpr,
    ADDED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    block, group = tl.program_id(0) // GROUPS, tl.program_id(0) % GROUPS
    row, channel = (block * ROWS + tl.arange(0, ROWS)).to(tl.int64), tl.arange(0, BLOCK)
    inside = (row[:, None] < num_rows) & (channel[None, :] < SIZE)
    column = group * SIZE + channel[None, :]
    value = tl.load(x + row[:, None] * stride_x + column, mask=inside, other=0.0).to(tl.float32)
    target = row[:, None] * (GROUPS * SIZE) + column
    if GATED:
        gate = tl.load(other + row[:, None] * stride_other + column, mask=inside, other=0.0).to(tl.float32)
        value *= gate * tl.sigmoid(gate)
    if ADDED:
        value += tl.load(other + row[:, None] * stride_other + column, mask=inside, other=0.0).to(tl.float32)
        rounded = cast(value, total.dtype.element_ty)
        tl.store(total + target, rounded, mask=inside)
        value = rounded.to(tl.float32)
    scale = tl.rsqrt(tl.sum(value * value, 1) / SIZE + eps)
    w = tl.load(weight + column, mask=channel[None, :] < SIZE, other=0.0).to(tl.float32)
    tl.store(y + target, cast(value * scale[:, None] * w, y.dtype.element_ty), mask=inside)
    tl.store(rrms + row * GROUPS + group, scale, mask=row < num_rows)


@triton.jit
def norm_backward_kernel(
    dy,  # [T, G*S]
    dtotal,  # [T, G*S]: gradient of the sum that was handed back
    x,  # [T, G*S]: the sum where there is a residual
    gate,  # [T, G*S]
    weight,
    rrms,  # [T, G] fp32
    dx,  # out [T, G*S]
    dgate,  # out [T, G*S]
    dweight,  # out [programs, G*S] fp32
    num_rows,
    rows_per_program,
    stride_dy,
    stride_dtotal,
    stride_x,
    stride_gate,
    SIZE: tl.constexpr,
    GROUPS: tl.constexpr,
    GATED: tl.constexpr,
    ADDED: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    block, group = tl.program_id(0) // GROUPS, tl.program_id(0) % GROUPS
    channel = tl.arange(0, BLOCK)
    column = group * SIZE + channel[None, :]
    known = channel[None, :] < SIZE
    w = tl.load(weight + column, mask=known, other=0.0).to(tl.float32)
    dw = tl.zeros((ROWS, BLOCK), tl.float32)
    first = block.to(tl.int64) * rows_per_program
    for start in range(0, rows_per_program, ROWS):
        row = first + start + tl.arange(0, ROWS)
        inside = (row[:, None] < num_rows) & known
        grad = tl.load(dy + row[:, None] * stride_dy + column, mask=inside, other=0.0).to(tl.float32)
        value = tl.load(x + row[:, None] * stride_x + column, mask=inside, other=0.0).to(tl.float32)
        scale = tl.load(rrms + row * GROUPS + group, mask=row < num_rows, other=0.0)[:, None]
        target = row[:, None] * (GROUPS * SIZE) + column
        if GATED:
            z = tl.load(gate + row[:, None] * stride_gate + column, mask=inside, other=0.0).to(tl.float32)
            sigmoid = tl.sigmoid(z)
            normalised = value * z * sigmoid * scale
        else:
            normalised = value * scale
        dw += grad * normalised
        grad *= w
        inner = tl.sum(grad * normalised, 1) / SIZE
        grad = (grad - normalised * inner[:, None]) * scale
        if ADDED:
            grad += tl.load(dtotal + row[:, None] * stride_dtotal + column, mask=inside, other=0.0).to(tl.float32)
        if GATED:
            slope = sigmoid * (1.0 + z * (1.0 - sigmoid))
            tl.store(dgate + target, cast(grad * value * slope, dgate.dtype.element_ty), mask=inside)
            grad *= z * sigmoid
        tl.store(dx + target, cast(grad, dx.dtype.element_ty), mask=inside)
    tl.store(dweight + block.to(tl.int64) * (GROUPS * SIZE) + column, tl.sum(dw, 0)[None, :], mask=known)


def triton_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """As `rms_norm`, for fp32, bf16 and fp16."""
    result: Tensor = _TritonNorm.apply(x, None, weight, eps, 1)
    return result


def triton_gated_rms_norm(y: Tensor, z: Tensor, weight: Tensor, eps: float, num_groups: int) -> Tensor:
    """As `gated_rms_norm`; y and z may be columns of wider tensors."""
    result: Tensor = _TritonNorm.apply(y, z, weight, eps, num_groups)
    return result


def triton_add_rms_norm(x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """As `add_rms_norm`, with one read of each input and one write of each result."""
    result: tuple[Tensor, Tensor] = _TritonAddNorm.apply(x, residual, weight, eps)
    return result


class _Tiling(NamedTuple):
    """How [T, G*S] is cut into tiles."""

    num_rows: int
    groups: int
    size: int
    rows: int
    block: int

    @property
    def constants(self) -> dict[str, int]:
        return {"SIZE": self.size, "GROUPS": self.groups, "ROWS": self.rows, "BLOCK": self.block}


def _tiling(flat: Tensor, groups: int) -> _Tiling:
    size = flat.shape[1] // groups
    block = next_power_of_2(size)
    return _Tiling(len(flat), groups, size, max(1, min(_TILE // block, next_power_of_2(len(flat)))), block)


def _rows_of(x: Tensor) -> Tensor:
    """[..., D] as [T, D] whose last dimension is contiguous, without a copy where that can be."""
    flat = x.flatten(0, -2)
    return flat if flat.stride(-1) == 1 else flat.contiguous()


def _forward(
    x: Tensor, other: Tensor, weight: Tensor, eps: float, groups: int, gated: bool, total: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(y, 1 / rms [T, G]); fills `total` when there is a residual."""
    tiling = _tiling(x, groups)
    y = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    rrms = torch.empty((len(x), groups), dtype=torch.float32, device=x.device)
    if len(x):
        norm_forward_kernel[(blocks(len(x), tiling.rows) * groups,)](
            x, other, weight, y, y if total is None else total, rrms, len(x), x.stride(0), other.stride(0), eps,
            GATED=gated, ADDED=total is not None, **tiling.constants, num_warps=4,
        )  # fmt: skip
    return y, rrms


def _backward(
    dy: Tensor, dtotal: Tensor | None, x: Tensor, gate: Tensor | None, weight: Tensor, rrms: Tensor
) -> tuple[Tensor, Tensor | None, Tensor]:
    """(dx, dgate, dweight)."""
    groups = rrms.shape[1]
    tiling = _tiling(x, groups)
    tiles = blocks(len(x), tiling.rows)
    rows_per_program = max(1, blocks(tiles, max(1, _BACKWARD_PROGRAMS // groups))) * tiling.rows
    programs = blocks(len(x), rows_per_program)
    dx = torch.empty(x.shape, dtype=x.dtype, device=x.device)
    dgate = None if gate is None else torch.empty(gate.shape, dtype=gate.dtype, device=x.device)
    parts = torch.empty((programs, x.shape[1]), dtype=torch.float32, device=x.device)
    # Where a kernel does not look, any tensor will do.
    second, third = dy if dtotal is None else dtotal, x if gate is None else gate
    if programs:
        norm_backward_kernel[(programs * groups,)](
            dy, second, x, third, weight, rrms, dx, dx if dgate is None else dgate, parts, len(x), rows_per_program,
            dy.stride(0), second.stride(0), x.stride(0), third.stride(0),
            GATED=gate is not None, ADDED=dtotal is not None, **tiling.constants, num_warps=8,
        )  # fmt: skip
    return dx, dgate, parts.sum(0).to(weight.dtype)


class _TritonNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gate: Tensor | None, weight: Tensor, eps: float, groups: int) -> Tensor:
        rows = _rows_of(x)
        gates = None if gate is None else _rows_of(gate)
        y, rrms = _forward(rows, rows if gates is None else gates, weight, eps, groups, gates is not None, None)
        ctx.save_for_backward(rows, gates, weight, rrms)
        return y.view(x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, Tensor, None, None]:
        x, gate, weight, rrms = ctx.saved_tensors
        dx, dgate, dweight = _backward(_rows_of(grad), None, x, gate, weight, rrms)
        return dx.view(grad.shape), None if dgate is None else dgate.view(grad.shape), dweight, None, None


class _TritonAddNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        rows, others = _rows_of(x), _rows_of(residual)
        total = torch.empty(others.shape, dtype=residual.dtype, device=x.device)
        y, rrms = _forward(rows, others, weight, eps, 1, False, total)
        ctx.save_for_backward(total, weight, rrms)
        ctx.x_dtype = x.dtype
        return y.view(x.shape), total.view(residual.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, grad_total: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        total, weight, rrms = ctx.saved_tensors
        dx, _, dweight = _backward(_rows_of(grad), _rows_of(grad_total), total, None, weight, rrms)
        shaped = dx.view(grad.shape)
        return shaped.to(ctx.x_dtype), shaped, dweight, None
