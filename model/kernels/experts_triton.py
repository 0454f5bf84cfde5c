"""The routed experts on a GPU: launchers of the grouped products and their autograd function.

    forward     gather, up, relu ─▶ r [M, I] ─▶ square, down, weight ─▶ [T, k, D] ─▶ sum over k
    backward    gather, down^T ─▶ dz and dw ─▶ up ─▶ [T, k, D] ─▶ sum over k = dx;  dz^T x = dup, (w r^2)^T g = ddown

Saved between the two: x, r, weights and the order. The tiles of rows are listed on the device from the counts, so
nothing waits for it; their number is bounded beforehand by M / BLOCK_M + E.

Launch parameters are reasoned for Hopper at 2688 x 1856 and 128 experts, not yet measured. Tiles of 128 x 128 x 64 in
four stages take 128 KB of the 227 KB of shared memory and 64 accumulators per thread in 8 warps; 1856 is 14.5 tiles of
128, a waste of 3.4 %. Below 64 rows an expert is bound by reading its matrix, so rows are tiled as few as there are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.experts_order import ExpertOrder, order_by_expert
from model.kernels.experts_triton_kernels import down_kernel, hidden_grad_kernel, matrix_grad_kernel, up_kernel
from model.kernels.triton_support import blocks, dot_block

_PROGRAMS = 132  # one for each multiprocessor: the tiles of a kernel fill its shared memory


def triton_routed_experts(x: Tensor, experts: Tensor, weights: Tensor, up: Tensor, down: Tensor) -> Tensor:
    """x [T, D], experts and weights [T, k], up and down [E, I, D] -> [T, D], as `routed_experts`."""
    result: Tensor = _TritonExperts.apply(x, weights, up, down, experts)
    return result


class _Plan(NamedTuple):
    """The tiles of rows of one batch, and the sizes that its kernels are compiled for."""

    tiles: Tensor  # [X, 3] int32: expert, first row, end of the expert's rows
    sizes: dict[str, int]

    def launch(self, num_columns: int) -> tuple[int]:
        return (max(1, min(_PROGRAMS, len(self.tiles) * blocks(num_columns, self.sizes["BLOCK_N"]))),)


def _plan(order: ExpertOrder, up: Tensor) -> _Plan:
    num_experts, units, size = up.shape
    block = min(128, dot_block(blocks(len(order.pair), num_experts)))
    sizes = {"UNITS": units, "SIZE": size, "BLOCK_M": block, **_blocks_of(up)}
    return _Plan(_list_tiles(order, block), sizes)


def _blocks_of(weight: Tensor) -> dict[str, int]:
    """fp32 operands are twice as wide, so half as many are held at a time."""
    widest = dot_block(max(weight.shape[1:]))
    inner = 64 if weight.element_size() == 2 else 32
    return {"BLOCK_N": min(128, widest), "BLOCK_K": min(inner, widest), "num_warps": 8, "num_stages": 4}


def _list_tiles(order: ExpertOrder, block: int) -> Tensor:
    """The tiles of all experts one after the other; entries beyond the last tile are empty."""
    starts = torch.cat((order.ends.new_zeros(1), order.ends[:-1]))
    tile_ends = ((order.ends - starts + block - 1) // block).cumsum(0)
    number = torch.arange(blocks(len(order.pair), block) + len(order.ends), device=order.ends.device)
    expert = torch.searchsorted(tile_ends, number, right=True).clamp_(max=len(order.ends) - 1)
    before = torch.cat((tile_ends.new_zeros(1), tile_ends[:-1])).index_select(0, expert)
    end = order.ends.index_select(0, expert)
    first = torch.minimum(starts.index_select(0, expert) + (number - before) * block, end)
    return torch.stack((expert, first, end), 1).to(torch.int32)


class _TritonExperts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weights: Tensor, up: Tensor, down: Tensor, experts: Tensor) -> Tensor:
        x, up, down = x.contiguous(), up.contiguous(), down.contiguous()
        order = order_by_expert(experts, len(up))
        plan, scale = _plan(order, up), weights.float().flatten()
        r = x.new_empty(len(order.pair), up.shape[1])
        up_kernel[plan.launch(up.shape[1])](x, up, r, order.token, plan.tiles, len(plan.tiles), **plan.sizes)
        out = x.new_empty(len(order.pair), x.shape[1])
        down_kernel[plan.launch(x.shape[1])](
            r, down, scale, out, order.pair, plan.tiles, len(plan.tiles), FORWARD=True, **plan.sizes
        )
        ctx.save_for_backward(x, weights, r, up, down, *order)
        return out.view(*experts.shape, x.shape[1]).sum(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weights, r, up, down, *parts = ctx.saved_tensors
        order = ExpertOrder(*parts)
        plan, scale, grad = _plan(order, up), weights.float().flatten(), grad.contiguous()
        num_pairs = len(order.pair)
        dz = torch.empty_like(r)
        shares = scale.new_empty(blocks(up.shape[1], plan.sizes["BLOCK_N"]), num_pairs)
        hidden_grad_kernel[plan.launch(up.shape[1])](
            grad, down, r, scale, dz, shares, order.token, order.pair, plan.tiles, len(plan.tiles), num_pairs,
            **plan.sizes,
        )  # fmt: skip
        d_up = _matrix_grad(dz, x, scale, order, up, False) if ctx.needs_input_grad[2] else None
        d_down = _matrix_grad(r, grad, scale, order, down, True) if ctx.needs_input_grad[3] else None
        dx = x.new_empty(num_pairs, x.shape[1])
        down_kernel[plan.launch(x.shape[1])](
            dz, up, scale, dx, order.pair, plan.tiles, len(plan.tiles), FORWARD=False, **plan.sizes
        )
        d_weights = shares.sum(0).view_as(weights).to(weights.dtype)
        return dx.view(*weights.shape, x.shape[1]).sum(1), d_weights, d_up, d_down, None


def _matrix_grad(left: Tensor, right: Tensor, scale: Tensor, order: ExpertOrder, like: Tensor, square: bool) -> Tensor:
    """Sum over each expert's rows of left^T right; without rows it is zero."""
    num_experts, units, size = like.shape
    sizes = _blocks_of(like)
    block = min(128, dot_block(units))
    out = torch.empty_like(like)
    programs = num_experts * blocks(units, block) * blocks(size, sizes["BLOCK_N"])
    matrix_grad_kernel[(programs,)](
        left, right, scale, out, order.token, order.pair, order.ends,
        UNITS=units, SIZE=size, SQUARE=square, BLOCK_M=block, **sizes,
    )  # fmt: skip
    return out
