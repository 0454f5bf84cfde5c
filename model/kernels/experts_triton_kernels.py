# mypy: allow-incomplete-defs
"""Triton kernels of the routed experts: grouped products whose tiles each belong to one expert.

Letters as in `experts`. Rows are the M sorted pairs; `tiles` [X, 3] int32 lists for each tile of rows its expert, its
first row and where the expert's rows end. Rows of tokens are gathered while a product reads them, activation and
weights are applied where a product reads or writes, and what leaves for a token is written to the pair's own place,
so nothing is added by two programs. The programs are as many as the device holds and walk over the tiles; tiles of one
expert are neighbours, so its matrix stays in cache.
"""

from __future__ import annotations

import triton
import triton.language as tl

from model.kernels.triton_numerics import cast, dot


@triton.jit
def _tile_product(
    a,  # row r at a_rows[r] * stride_a
    a_rows,
    row_inside,
    stride_a,
    w,  # the expert's matrix
    stride_k,
    stride_n,
    column,
    NUM_COLUMNS: tl.constexpr,
    NUM_INNER: tl.constexpr,
    SQUARE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """[BLOCK_M, BLOCK_N] fp32: rows of a (squared if SQUARE) times the matrix."""
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    inner = tl.arange(0, BLOCK_K)
    for start in range(0, NUM_INNER, BLOCK_K):
        k = start + inner
        left = tl.load(
            a + a_rows[:, None] * stride_a + k[None, :],
            mask=row_inside[:, None] & (k[None, :] < NUM_INNER),
            other=0.0,
        )
        if SQUARE:
            wide = left.to(tl.float32)
            left = cast(wide * wide, a.dtype.element_ty)
        right = tl.load(
            w + k[:, None] * stride_k + column[None, :] * stride_n,
            mask=(k[:, None] < NUM_INNER) & (column[None, :] < NUM_COLUMNS),
            other=0.0,
        )
        acc = dot(left, right, acc)
    return acc


@triton.jit
def up_kernel(
    x,  # [T, D]
    up,  # [E, I, D]
    r,  # out [M, I]: relu(up x)
    token,  # [M]
    tiles,
    num_tiles,
    UNITS: tl.constexpr,
    SIZE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    column_tiles: tl.constexpr = (UNITS + BLOCK_N - 1) // BLOCK_N
    for tile in range(tl.program_id(0), num_tiles * column_tiles, tl.num_programs(0)):
        entry = tiles + (tile // column_tiles) * 3
        expert, first, end = tl.load(entry).to(tl.int64), tl.load(entry + 1), tl.load(entry + 2)
        if first < end:
            row = first + tl.arange(0, BLOCK_M)
            column = (tile % column_tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
            source = tl.load(token + row, mask=row < end, other=0)
            z = _tile_product(
                x, source, row < end, SIZE, up + expert * UNITS * SIZE, 1, SIZE, column,
                UNITS, SIZE, False, BLOCK_M, BLOCK_N, BLOCK_K,
            )  # fmt: skip
            inside = (row[:, None] < end) & (column[None, :] < UNITS)
            target = row[:, None].to(tl.int64) * UNITS + column[None, :]
            tl.store(r + target, cast(tl.maximum(z, 0.0), r.dtype.element_ty), mask=inside)


@triton.jit
def down_kernel(
    a,  # [M, I]: r, to be squared, or dz
    matrices,  # [E, I, D]: down, or up
    weights,  # [M] by pair
    out,  # out [M, D] by pair
    pair,  # [M]
    tiles,
    num_tiles,
    UNITS: tl.constexpr,
    SIZE: tl.constexpr,
    FORWARD: tl.constexpr,  # square what comes in and weight what goes out
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    column_tiles: tl.constexpr = (SIZE + BLOCK_N - 1) // BLOCK_N
    for tile in range(tl.program_id(0), num_tiles * column_tiles, tl.num_programs(0)):
        entry = tiles + (tile // column_tiles) * 3
        expert, first, end = tl.load(entry).to(tl.int64), tl.load(entry + 1), tl.load(entry + 2)
        if first < end:
            row = first + tl.arange(0, BLOCK_M)
            column = (tile % column_tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
            y = _tile_product(
                a, row.to(tl.int64), row < end, UNITS, matrices + expert * UNITS * SIZE, SIZE, 1, column,
                SIZE, UNITS, FORWARD, BLOCK_M, BLOCK_N, BLOCK_K,
            )  # fmt: skip
            place = tl.load(pair + row, mask=row < end, other=0)
            if FORWARD:
                y *= tl.load(weights + place, mask=row < end, other=0.0)[:, None]
            inside = (row[:, None] < end) & (column[None, :] < SIZE)
            tl.store(out + place[:, None] * SIZE + column[None, :], cast(y, out.dtype.element_ty), mask=inside)


@triton.jit
def hidden_grad_kernel(
    grad,  # [T, D]
    down,  # [E, I, D]
    r,  # [M, I]
    weights,  # [M] by pair
    dz,  # out [M, I]: 2 r g' w
    dweights,  # out [column tiles, M] fp32 by pair: <r^2, g'> over one tile of columns
    token,
    pair,
    tiles,
    num_tiles,
    num_pairs,
    UNITS: tl.constexpr,
    SIZE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    column_tiles: tl.constexpr = (UNITS + BLOCK_N - 1) // BLOCK_N
    for tile in range(tl.program_id(0), num_tiles * column_tiles, tl.num_programs(0)):
        entry = tiles + (tile // column_tiles) * 3
        expert, first, end = tl.load(entry).to(tl.int64), tl.load(entry + 1), tl.load(entry + 2)
        if first < end:
            row = first + tl.arange(0, BLOCK_M)
            column = (tile % column_tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
            source = tl.load(token + row, mask=row < end, other=0)
            r_grad = _tile_product(
                grad, source, row < end, SIZE, down + expert * UNITS * SIZE, 1, SIZE, column,
                UNITS, SIZE, False, BLOCK_M, BLOCK_N, BLOCK_K,
            )  # fmt: skip
            inside = (row[:, None] < end) & (column[None, :] < UNITS)
            target = row[:, None].to(tl.int64) * UNITS + column[None, :]
            hidden = tl.load(r + target, mask=inside, other=0.0).to(tl.float32)
            r_grad *= hidden
            place = tl.load(pair + row, mask=row < end, other=0)
            share = tl.sum(r_grad * hidden, 1)
            tl.store(dweights + (tile % column_tiles) * num_pairs + place, share, mask=row < end)
            w = tl.load(weights + place, mask=row < end, other=0.0)
            tl.store(dz + target, cast(2.0 * r_grad * w[:, None], dz.dtype.element_ty), mask=inside)


@triton.jit
def matrix_grad_kernel(
    left,  # [M, I]: dz, or r, to be squared and weighted
    right,  # [T, D]: x, or the gradient of the output
    weights,  # [M] by pair
    out,  # out [E, I, D]
    token,
    pair,
    ends,  # [E] int64
    UNITS: tl.constexpr,
    SIZE: tl.constexpr,
    SQUARE: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    unit_tiles: tl.constexpr = (UNITS + BLOCK_M - 1) // BLOCK_M
    size_tiles: tl.constexpr = (SIZE + BLOCK_N - 1) // BLOCK_N
    tile = tl.program_id(0) % (unit_tiles * size_tiles)
    expert = tl.program_id(0) // (unit_tiles * size_tiles)
    first = tl.load(ends + expert - 1, mask=expert > 0, other=0)
    end = tl.load(ends + expert)
    unit = (tile // size_tiles) * BLOCK_M + tl.arange(0, BLOCK_M)
    column = (tile % size_tiles) * BLOCK_N + tl.arange(0, BLOCK_N)
    acc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    for start in range(first, end, BLOCK_K):
        row = start + tl.arange(0, BLOCK_K)
        inside = row < end
        a = tl.load(
            left + row[:, None] * UNITS + unit[None, :], mask=inside[:, None] & (unit[None, :] < UNITS), other=0.0
        )
        if SQUARE:
            place = tl.load(pair + row, mask=inside, other=0)
            wide = a.to(tl.float32)
            scaled = wide * wide * tl.load(weights + place, mask=inside, other=0.0)[:, None]
            a = cast(scaled, left.dtype.element_ty)
        source = tl.load(token + row, mask=inside, other=0)
        b = tl.load(
            right + source[:, None] * SIZE + column[None, :],
            mask=inside[:, None] & (column[None, :] < SIZE),
            other=0.0,
        )
        acc = dot(tl.trans(a), b, acc)
    target = expert.to(tl.int64) * UNITS * SIZE + unit[:, None] * SIZE + column[None, :]
    tl.store(out + target, cast(acc, out.dtype.element_ty), mask=(unit[:, None] < UNITS) & (column[None, :] < SIZE))
