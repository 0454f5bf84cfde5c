# mypy: allow-incomplete-defs
"""Attention over cached keys and values on a GPU, the cache cut along its length (2205.14135; split as in 2311.01282).

The query heads of one key head are rows of one product, so a key is read once for all of them. A program takes the
rows of one sequence and key head and one stretch of the cache, and leaves its weighted values with the logarithm of
its sum of exponentials; a second kernel joins the stretches:  out = sum_s exp(lse_s - lse) out_s.
A batch of few sequences fills the GPU by more stretches.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from model.kernels.triton_numerics import cast, dot
from model.kernels.triton_support import blocks, dot_block, next_power_of_2

# Positions per step: two tiles of 64 x 128 in bf16 fit the shared memory of a Hopper SM several times over. Reasoned,
# not yet measured.
_POSITIONS = 64
_MAX_ROWS = 64
# Shorter stretches cost more in joining than they win in parallel reading.
_MIN_STRETCH = 256


def triton_attend_cached(
    q: Tensor,
    keys: Tensor,
    values: Tensor,
    visible: Tensor,
    slots: Tensor | None = None,
    num_splits: int | None = None,
) -> Tensor:
    """As `attend_cached`, without autograd; num_splits: stretches of the cache (None: enough to fill the GPU)."""
    batch, queries, num_heads, head_dim = q.shape
    kv_heads, positions = keys.shape[1:3]
    if keys.stride() != values.stride() or keys.stride(-1) != 1:
        keys, values = keys.contiguous(), values.contiguous()
    q, visible = q.contiguous(), visible.contiguous()
    rows = num_heads // kv_heads * queries
    block_m = min(_MAX_ROWS, dot_block(rows))
    tiles = batch * kv_heads * blocks(rows, block_m)
    splits = num_splits or _num_splits(tiles, positions, q.device)
    stretch = blocks(blocks(positions, splits), _POSITIONS) * _POSITIONS
    partial = torch.empty((batch, kv_heads, rows, splits, head_dim), device=q.device, dtype=torch.float32)
    lse = torch.empty((batch, kv_heads, rows, splits), device=q.device, dtype=torch.float32)
    sizes = {"HEADS": num_heads, "KV_HEADS": kv_heads, "QUERIES": queries, "DIM": head_dim}
    block_d = dot_block(head_dim)
    _stretch_kernel[(tiles * splits,)](
        q,
        keys,
        values,
        visible,
        visible if slots is None else slots,
        partial,
        lse,
        stretch=stretch,
        scale=head_dim**-0.5,
        stride_slot=keys.stride(0),
        stride_head=keys.stride(1),
        stride_position=keys.stride(2),
        splits=splits,
        **sizes,
        HAS_SLOTS=slots is not None,
        BLOCK_M=block_m,
        BLOCK_K=_POSITIONS,
        BLOCK_D=block_d,
        num_warps=4,
    )
    out = torch.empty((batch, queries, num_heads * head_dim), device=q.device, dtype=q.dtype)
    _join_kernel[(batch * kv_heads * rows,)](
        partial, lse, out, splits=splits, **sizes, BLOCK_S=next_power_of_2(splits), BLOCK_D=block_d, num_warps=4
    )
    return out


def _num_splits(tiles: int, positions: int, device: torch.device) -> int:
    """Two programs for every multiprocessor, as far as stretches stay worth their joining."""
    processors = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
    return max(1, min(blocks(2 * processors, tiles), blocks(positions, _MIN_STRETCH)))


@triton.jit
def _stretch_kernel(
    q,  # [B, L, Hq, dh]
    keys,  # [S, Hkv, positions, dh]
    values,
    visible,  # [B, L]
    slots,  # [B] or anything without HAS_SLOTS
    partial,  # out [B, Hkv, rows, splits, dh] fp32, zeros where a row sees nothing of the stretch
    lse,  # out [B, Hkv, rows, splits] fp32, -inf there
    stretch,
    scale,
    stride_slot,
    stride_head,
    stride_position,
    splits,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    QUERIES: tl.constexpr,
    DIM: tl.constexpr,
    HAS_SLOTS: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows: tl.constexpr = HEADS // KV_HEADS * QUERIES
    row_blocks: tl.constexpr = (rows + BLOCK_M - 1) // BLOCK_M
    pid = tl.program_id(0)
    split, tile = pid % splits, pid // splits
    block, kv_head, sequence = tile % row_blocks, tile // row_blocks % KV_HEADS, tile // (row_blocks * KV_HEADS)
    m, d = block * BLOCK_M + tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_D)
    real, in_d = m < rows, d[None, :] < DIM
    head, query = kv_head * (HEADS // KV_HEADS) + m // QUERIES, m % QUERIES
    at = ((sequence * QUERIES + query).to(tl.int64) * HEADS + head)[:, None] * DIM + d[None, :]
    q_rows = tl.load(q + at, mask=real[:, None] & in_d, other=0.0)
    reach = tl.load(visible + sequence * QUERIES + query, mask=real, other=0).to(tl.int32)
    slot = sequence.to(tl.int64)
    if HAS_SLOTS:
        slot = tl.load(slots + sequence).to(tl.int64)
    base = slot * stride_slot + kv_head * stride_head
    top = tl.full((BLOCK_M,), float("-inf"), tl.float32)
    total = tl.zeros((BLOCK_M,), tl.float32)
    out = tl.zeros((BLOCK_M, BLOCK_D), tl.float32)
    begin = split * stretch
    for k in range(begin, tl.minimum(begin + stretch, tl.max(reach, 0)), BLOCK_K):
        position = k + tl.arange(0, BLOCK_K)
        cell = base + position.to(tl.int64)[:, None] * stride_position + d[None, :]
        held = (position < tl.max(reach, 0))[:, None] & in_d
        k_rows = tl.load(keys + cell, mask=held, other=0.0)
        v_rows = tl.load(values + cell, mask=held, other=0.0)
        scores = dot(q_rows, tl.trans(k_rows)) * scale
        scores = tl.where(position[None, :] < reach[:, None], scores, float("-inf"))
        higher = tl.maximum(top, tl.max(scores, 1))
        # A row that has seen nothing yet keeps its maximum at -inf; zero then stands in for it.
        safe = tl.where(higher == float("-inf"), 0.0, higher)
        weights = tl.exp(scores - safe[:, None])
        fade = tl.exp(top - safe)
        total = total * fade + tl.sum(weights, 1)
        out = dot(cast(weights, v_rows.dtype), v_rows, out * fade[:, None])
        top = higher
    seen = total > 0
    place = ((sequence * KV_HEADS + kv_head) * rows + m).to(tl.int64) * splits + split
    out = out / tl.where(seen, total, 1.0)[:, None]
    tl.store(partial + place[:, None] * DIM + d[None, :], out, mask=real[:, None] & in_d)
    tl.store(lse + place, tl.where(seen, top + tl.log(tl.where(seen, total, 1.0)), float("-inf")), mask=real)


@triton.jit
def _join_kernel(
    partial,
    lse,
    out,  # [B, L, Hq * dh]
    splits,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    QUERIES: tl.constexpr,
    DIM: tl.constexpr,
    BLOCK_S: tl.constexpr,
    BLOCK_D: tl.constexpr,
):
    rows: tl.constexpr = HEADS // KV_HEADS * QUERIES
    pid = tl.program_id(0)
    m, kv_head, sequence = pid % rows, pid // rows % KV_HEADS, pid // (rows * KV_HEADS)
    split, d = tl.arange(0, BLOCK_S), tl.arange(0, BLOCK_D)
    real, in_d = split < splits, d < DIM
    place = pid.to(tl.int64) * splits + split
    logs = tl.load(lse + place, mask=real, other=float("-inf"))
    weights = tl.exp(logs - tl.max(logs, 0))
    parts = tl.load(partial + place[:, None] * DIM + d[None, :], mask=real[:, None] & in_d[None, :], other=0.0)
    joined = tl.sum(parts * weights[:, None], 0) / tl.sum(weights, 0)
    head, query = kv_head * (HEADS // KV_HEADS) + m // QUERIES, m % QUERIES
    target = ((sequence * QUERIES + query).to(tl.int64) * HEADS + head) * DIM + d
    tl.store(out + target, cast(joined, out.dtype.element_ty), mask=in_d)
