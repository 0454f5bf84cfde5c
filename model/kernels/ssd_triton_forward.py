# mypy: allow-incomplete-defs
"""Triton kernels of the chunked scan, forward: decay sums, what each chunk adds, passing states, reading them.

Letters as in `ssd_chunked`: within a chunk s = cumsum(dt A), w = exp(s_Q - s). One program works on one head (of one
chunk, but for the passing of states); B and C are read at the head's group, so that the heads of a group, which are
neighbours in the grid, share them in cache. Products take operands in the dtype of xBC and add up in fp32; of the two
operands one is always exact (x, B, C or dY as they came), so each product rounds once. States are fp32 throughout.
"""

from __future__ import annotations

import triton
import triton.language as tl

from model.kernels.triton_numerics import cast, dot


@triton.jit
def decay_kernel(
    dt,  # [T, H], rows stride_dt apart
    A,  # [H]
    s,  # out [H, T] fp32: cumulative dt A within each chunk
    dt_heads,  # out [H, T] fp32: dt, so that a head's numbers lie together
    chunk_start,
    chunk_length,
    stride_dt,
    num_tokens,
    HEADS: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    head_blocks: tl.constexpr = (HEADS + BLOCK_H - 1) // BLOCK_H
    chunk, head_block = tl.program_id(0) // head_blocks, tl.program_id(0) % head_blocks
    start, length = tl.load(chunk_start + chunk), tl.load(chunk_length + chunk)
    row, head = tl.arange(0, BLOCK_Q), head_block * BLOCK_H + tl.arange(0, BLOCK_H)
    inside = (row[:, None] < length) & (head[None, :] < HEADS)
    rows = (start + row).to(tl.int64)
    steps = tl.load(dt + rows[:, None] * stride_dt + head[None, :], mask=inside, other=0.0).to(tl.float32)
    rates = tl.load(A + head, mask=head < HEADS, other=0.0).to(tl.float32)
    target = head[None, :].to(tl.int64) * num_tokens + rows[:, None]
    tl.store(s + target, tl.cumsum(steps * rates[None, :], 0), mask=inside)
    tl.store(dt_heads + target, steps, mask=inside)


@triton.jit
def chunk_state_kernel(
    left,  # [T, ...]: B (or C), at column left_column + group * N
    right,  # [T, ...]: x (or dY), at column head * P
    s,
    dt_heads,
    states,  # out [X, G, N, R*P] fp32: sum over the chunk of weight * left (x) right
    chunk_start,
    chunk_length,
    stride_left,
    stride_right,
    num_tokens,
    left_column,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    TO_END: tl.constexpr,  # weight exp(s_Q - s) dt, else exp(s)
    BLOCK_K: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    chunk, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    heads_per_group: tl.constexpr = HEADS // GROUPS
    group = head // heads_per_group
    start, length = tl.load(chunk_start + chunk).to(tl.int64), tl.load(chunk_length + chunk)
    n, p = tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_P)
    left_at, right_at = left + left_column + group * N + n, right + head * P + p
    by_head = head.to(tl.int64) * num_tokens + start
    end = tl.load(s + by_head + length - 1)
    total = tl.zeros((BLOCK_N, BLOCK_P), tl.float32)
    for k in range(0, length, BLOCK_K):
        j = k + tl.arange(0, BLOCK_K)
        here = j < length
        s_j = tl.load(s + by_head + j, mask=here, other=0.0)
        if TO_END:
            weight = tl.exp(tl.where(here, end - s_j, 0.0)) * tl.load(dt_heads + by_head + j, mask=here, other=0.0)
        else:
            weight = tl.exp(s_j)
        rows = (start + j)[:, None]
        l_j = tl.load(left_at[None, :] + rows * stride_left, mask=here[:, None] & (n[None, :] < N), other=0.0)
        r_j = tl.load(right_at[None, :] + rows * stride_right, mask=here[:, None] & (p[None, :] < P), other=0.0)
        weighted = cast(l_j.to(tl.float32) * weight[:, None], l_j.dtype)
        total = dot(tl.trans(weighted), r_j, total)
    width: tl.constexpr = heads_per_group * P
    base = (chunk.to(tl.int64) * GROUPS + group) * N * width + (head % heads_per_group) * P
    held = (n[:, None] < N) & (p[None, :] < P)
    tl.store(states + base + n[:, None] * width + p[None, :], total, mask=held)


@triton.jit
def pass_states_kernel(
    added,  # [X, G, N, R*P] fp32
    s,
    initial,  # [B, G, N, R*P] or anything without HAS_INITIAL
    before,  # out [X, G, N, R*P] fp32: the state that each chunk starts from
    final,  # out [B, G, N, R*P] fp32
    chunk_start,
    chunk_length,
    first_chunk,
    num_tokens,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    HAS_INITIAL: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    blocks_n: tl.constexpr = (N + BLOCK_N - 1) // BLOCK_N
    pid = tl.program_id(0)
    sequence, head, block = pid // (HEADS * blocks_n), pid // blocks_n % HEADS, pid % blocks_n
    heads_per_group: tl.constexpr = HEADS // GROUPS
    width: tl.constexpr = heads_per_group * P
    size: tl.constexpr = GROUPS * N * width
    n, p = block * BLOCK_N + tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_P)
    held = (n[:, None] < N) & (p[None, :] < P)
    place = head // heads_per_group * N * width + head % heads_per_group * P + n[:, None] * width + p[None, :]
    carried = tl.zeros((BLOCK_N, BLOCK_P), tl.float32)
    if HAS_INITIAL:
        carried = tl.load(initial + sequence.to(tl.int64) * size + place, mask=held, other=0.0).to(tl.float32)
    for chunk in range(tl.load(first_chunk + sequence), tl.load(first_chunk + sequence + 1)):
        last = tl.load(chunk_start + chunk) + tl.load(chunk_length + chunk) - 1
        decay = tl.exp(tl.load(s + head.to(tl.int64) * num_tokens + last))
        here = tl.cast(chunk, tl.int64) * size + place
        tl.store(before + here, carried, mask=held)
        carried = decay * carried + tl.load(added + here, mask=held, other=0.0)
    tl.store(final + sequence.to(tl.int64) * size + place, carried, mask=held)


@triton.jit
def scan_kernel(
    xBC,
    s,
    dt_heads,
    D,
    before,
    y,  # out [T, H*P], contiguous
    chunk_start,
    chunk_length,
    stride,
    num_tokens,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    TILES: tl.constexpr,  # tiles of BLOCK_M rows in a chunk
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_N: tl.constexpr,
):
    pid = tl.program_id(0)
    chunk, tile, head = pid // (HEADS * TILES), pid // HEADS % TILES, pid % HEADS
    start, length = tl.load(chunk_start + chunk).to(tl.int64), tl.load(chunk_length + chunk)
    first = tile * BLOCK_M
    if first < length:
        heads_per_group: tl.constexpr = HEADS // GROUPS
        width: tl.constexpr = heads_per_group * P
        group = head // heads_per_group
        i, n, p = first + tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_P)
        real, in_n, in_p = i < length, n[None, :] < N, p[None, :] < P
        x_at, b_at = xBC + head * P + p[None, :], xBC + HEADS * P + group * N + n[None, :]
        rows = (start + i)[:, None]
        by_head = head.to(tl.int64) * num_tokens + start
        s_i = tl.load(s + by_head + i, mask=real, other=0.0)
        c_i = tl.load(b_at + GROUPS * N + rows * stride, mask=real[:, None] & in_n, other=0.0)
        # the state that came in
        base = (chunk.to(tl.int64) * GROUPS + group) * N * width + head % heads_per_group * P
        state = tl.load(before + base + n[:, None] * width + p[None, :], mask=(n[:, None] < N) & in_p, other=0.0)
        out = dot(c_i, cast(state, c_i.dtype)) * tl.exp(s_i)[:, None]
        # the tokens of this chunk up to each row's own
        for k in range(0, tl.minimum(first + BLOCK_M, length), BLOCK_K):
            j = k + tl.arange(0, BLOCK_K)
            here = j < length
            columns = (start + j)[:, None]
            s_j = tl.load(s + by_head + j, mask=here, other=0.0)
            dt_j = tl.load(dt_heads + by_head + j, mask=here, other=0.0)
            b_j = tl.load(b_at + columns * stride, mask=here[:, None] & in_n, other=0.0)
            x_j = tl.load(x_at + columns * stride, mask=here[:, None] & in_p, other=0.0)
            seen = (i[:, None] >= j[None, :]) & real[:, None]
            decay = tl.exp(tl.where(seen, s_i[:, None] - s_j[None, :], float("-inf")))
            mixing = dot(c_i, tl.trans(b_j)) * decay * dt_j[None, :]
            out = dot(cast(mixing, x_j.dtype), x_j, out)
        x_i = tl.load(x_at + rows * stride, mask=real[:, None] & in_p, other=0.0)
        out += tl.load(D + head).to(tl.float32) * x_i.to(tl.float32)
        tl.store(
            y + rows * (HEADS * P) + head * P + p[None, :], cast(out, y.dtype.element_ty), mask=real[:, None] & in_p
        )
