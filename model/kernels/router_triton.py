# mypy: allow-incomplete-defs
"""Choice and weights of the experts on a GPU: one pass over the gate's logits forward, one backward.

A program holds a few tokens' scores of all experts in registers and takes the best k times: the largest rank, and of
those that tie the lowest index. The logits come from a product in fp32 (no tf32); bias arrives centred.
Launch parameters are reasoned for Hopper at 128 experts, not yet measured: 32 tokens are a tile of 4096 numbers.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.triton_support import blocks, next_power_of_2

_TILE = 4096


@triton.jit
def route_kernel(
    logits,  # [T, E] fp32
    bias,  # [E] fp32, centred
    recorded,  # [T, K]
    experts,  # out [T, K] int64
    weights,  # out [T, K] fp32
    num_tokens,
    scale,
    EXPERTS: tl.constexpr,
    TOP_K: tl.constexpr,
    NORMALISE: tl.constexpr,
    REPLAY: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    expert, place = tl.arange(0, BLOCK_E), tl.arange(0, BLOCK_K)
    known = (row[:, None] < num_tokens) & (expert[None, :] < EXPERTS)
    score = tl.sigmoid(tl.load(logits + row[:, None] * EXPERTS + expert[None, :], mask=known, other=0.0))
    rank = score + tl.load(bias + expert, mask=expert < EXPERTS, other=0.0)[None, :]
    # Not a number comes last, what does not exist or is taken never.
    rank = tl.where(rank == rank, rank, -3.0e38)
    rank = tl.where(expert[None, :] < EXPERTS, rank, float("-inf"))
    chosen = tl.zeros((ROWS, BLOCK_K), tl.int64)
    for pick in tl.static_range(TOP_K):
        best = tl.max(rank, 1)
        index = tl.min(tl.where(rank == best[:, None], expert[None, :], BLOCK_E), 1)
        rank = tl.where(expert[None, :] == index[:, None], float("-inf"), rank)
        chosen = tl.where(place[None, :] == pick, index[:, None].to(tl.int64), chosen)
    target = row[:, None] * TOP_K + place[None, :]
    inside = (row[:, None] < num_tokens) & (place[None, :] < TOP_K)
    if REPLAY:
        replayed = tl.load(recorded + target, mask=inside, other=0).to(tl.int64)
        chosen = tl.where((tl.min(replayed, 1) < 0)[:, None], chosen, replayed)
    picked = tl.sigmoid(tl.load(logits + row[:, None] * EXPERTS + chosen, mask=inside & (chosen < EXPERTS), other=0.0))
    picked = tl.where(place[None, :] < TOP_K, picked, 0.0)
    if NORMALISE:
        picked = picked / (tl.sum(picked, 1) + 1e-20)[:, None]
    tl.store(experts + target, chosen, mask=inside)
    tl.store(weights + target, picked * scale, mask=inside)


@triton.jit
def route_backward_kernel(
    dweights,  # [T, K] fp32
    logits,  # [T, E] fp32
    experts,  # [T, K] int64
    dlogits,  # out [T, E] fp32
    num_tokens,
    scale,
    EXPERTS: tl.constexpr,
    TOP_K: tl.constexpr,
    NORMALISE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK_E: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    expert, place = tl.arange(0, BLOCK_E), tl.arange(0, BLOCK_K)
    inside = (row[:, None] < num_tokens) & (place[None, :] < TOP_K)
    source = row[:, None] * TOP_K + place[None, :]
    chosen = tl.load(experts + source, mask=inside, other=0)
    grad = tl.load(dweights + source, mask=inside, other=0.0)
    picked = tl.sigmoid(tl.load(logits + row[:, None] * EXPERTS + chosen, mask=inside & (chosen < EXPERTS), other=0.0))
    picked = tl.where(inside, picked, 0.0)
    if NORMALISE:
        total = (tl.sum(picked, 1) + 1e-20)[:, None]
        grad = (grad - tl.sum(grad * picked, 1)[:, None] / total) / total
    grad = grad * picked * (1.0 - picked) * scale
    result = tl.zeros((ROWS, BLOCK_E), tl.float32)
    for pick in tl.static_range(TOP_K):
        index = tl.sum(tl.where(place[None, :] == pick, chosen, 0), 1)
        value = tl.sum(tl.where(place[None, :] == pick, grad, 0.0), 1)
        result += tl.where(expert[None, :] == index[:, None], value[:, None], 0.0)
    known = (row[:, None] < num_tokens) & (expert[None, :] < EXPERTS)
    tl.store(dlogits + row[:, None] * EXPERTS + expert[None, :], result, mask=known)


def triton_route(
    logits: Tensor, bias: Tensor, top_k: int, scale: float, normalise: bool, recorded: Tensor | None
) -> tuple[Tensor, Tensor]:
    """logits [T, E] and centred bias [E] -> (experts [T, k] int64, weights [T, k] fp32), as `route_logits`."""
    result: tuple[Tensor, Tensor] = _TritonRoute.apply(logits, bias, top_k, scale, normalise, recorded)
    return result


def _launch(logits: Tensor, top_k: int) -> tuple[tuple[int], dict[str, int]]:
    block = next_power_of_2(logits.shape[1])
    rows = max(1, min(_TILE // block, next_power_of_2(len(logits))))
    sizes = {"EXPERTS": logits.shape[1], "TOP_K": top_k, "ROWS": rows, "BLOCK_E": block}
    return (blocks(len(logits), rows),), sizes | {"BLOCK_K": next_power_of_2(top_k), "num_warps": 4}


class _TritonRoute(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, logits: Tensor, bias: Tensor, top_k: int, scale: float, normalise: bool, recorded: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        logits = logits.float().contiguous()
        experts = torch.empty((len(logits), top_k), dtype=torch.int64, device=logits.device)
        weights = torch.empty((len(logits), top_k), dtype=torch.float32, device=logits.device)
        record = experts if recorded is None else recorded.to(logits.device).contiguous()
        if len(logits):
            grid, sizes = _launch(logits, top_k)
            route_kernel[grid](
                logits, bias.float(), record, experts, weights, len(logits), scale,
                NORMALISE=normalise, REPLAY=recorded is not None, **sizes,
            )  # fmt: skip
        ctx.save_for_backward(logits, experts)
        ctx.scale, ctx.normalise = scale, normalise
        ctx.mark_non_differentiable(experts)
        return experts, weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, _: None, grad: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        logits, experts = ctx.saved_tensors
        dlogits = torch.empty_like(logits)
        if len(logits):
            grid, sizes = _launch(logits, experts.shape[1])
            route_backward_kernel[grid](
                grad.contiguous(), logits, experts, dlogits, len(logits), ctx.scale, NORMALISE=ctx.normalise, **sizes
            )
        return dlogits, None, None, None, None, None
