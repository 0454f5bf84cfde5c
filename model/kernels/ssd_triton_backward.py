# mypy: allow-incomplete-defs
"""Triton kernels of the chunked scan, backward: from dY and the gradient of the final states to all inputs.

Nothing of size Q x Q and no state is kept from the forward pass: s and the states are computed again from x, dt, B, C.
With S_ij = L_ij dt_j dY_i . x_j and dH the gradient of the state at a chunk's end:

    dU_j = sum_i L_ij (C_i . B_j) dY_i + w_j B_j dH        dx_j = dt_j dU_j + D dY_j        dD = sum x . dY
    dC_i = sum_j (sum_heads S_ij) B_j + sum_heads exp(s_i) H_prev dY_i
    dB_j = sum_i (sum_heads S_ij) C_i + sum_heads w_j dt_j dH x_j
    ds_i = C_i . (this head's dC_i) - B_i . (this head's dB_i through outputs)
    e_i = B_i . (this head's dB_i through the state at the end)
    da_t = sum_{i>=t} ds_i + sum_{i<t} e_i + exp(s_Q) <dH, H_prev>
    ddt = x . dU + A da                                    dA = sum dt da

The two sides of ds nearly cancel. Both are sums of the same fp32 numbers S_ij (C_i . B_j), before any
is rounded for a product, so that in bf16 too what is left of them is the gradient and not their rounding. The sums
over heads run inside one program: every result is the same at each run. Shapes as in the forward kernels.
"""

from __future__ import annotations

import triton
import triton.language as tl

from model.kernels.triton_numerics import cast, dot


@triton.jit
def pass_gradients_kernel(
    d_before,  # [X, G, N, R*P] fp32: gradient of the state each chunk starts from, by its own rows alone
    before,
    s,
    d_final,  # [B, G, N, R*P] or anything without HAS_FINAL
    d_after,  # out [X, G, N, R*P] fp32: gradient of the state at each chunk's end
    d_initial,  # out [B, G, N, R*P] fp32
    at_end,  # out [X, H, blocks of N] fp32: exp(s_Q) <dH, H_prev> of each chunk, in parts
    chunk_start,
    chunk_length,
    first_chunk,
    num_tokens,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    HAS_FINAL: tl.constexpr,
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
    mine = sequence.to(tl.int64) * size + place
    carried = tl.zeros((BLOCK_N, BLOCK_P), tl.float32)
    if HAS_FINAL:
        carried = tl.load(d_final + mine, mask=held, other=0.0).to(tl.float32)
    begin, end = tl.load(first_chunk + sequence), tl.load(first_chunk + sequence + 1)
    for step in range(0, end - begin):
        chunk = end - 1 - step
        last = tl.load(chunk_start + chunk) + tl.load(chunk_length + chunk) - 1
        decay = tl.exp(tl.load(s + head.to(tl.int64) * num_tokens + last))
        here = chunk.to(tl.int64) * size + place
        tl.store(d_after + here, carried, mask=held)
        carried = decay * carried
        kept = carried * tl.load(before + here, mask=held, other=0.0)
        tl.store(at_end + (chunk * HEADS + head) * blocks_n + block, tl.sum(tl.sum(kept, 1), 0))
        carried += tl.load(d_before + here, mask=held, other=0.0)
    tl.store(d_initial + mine, carried, mask=held)


@triton.jit
def x_gradient_kernel(
    xBC,
    dy,  # [T, H*P], rows stride_dy apart
    s,
    dt_heads,
    D,
    d_after,
    d_xBC,  # out: its x columns, contiguous rows
    x_du,  # out [H, T] fp32: x . dU
    d_D,  # out [X * TILES, H] fp32: x . dY, in parts; zeros where a tile is empty
    chunk_start,
    chunk_length,
    stride,
    stride_dy,
    num_tokens,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    TILES: tl.constexpr,
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
        columns: tl.constexpr = HEADS * P + 2 * GROUPS * N
        group = head // heads_per_group
        j, n, p = first + tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_P)
        real, in_n, in_p = j < length, n[None, :] < N, p[None, :] < P
        b_at, dy_at = xBC + HEADS * P + group * N + n[None, :], dy + head * P + p[None, :]
        rows = (start + j)[:, None]
        by_head = head.to(tl.int64) * num_tokens + start
        s_j = tl.load(s + by_head + j, mask=real, other=0.0)
        b_j = tl.load(b_at + rows * stride, mask=real[:, None] & in_n, other=0.0)
        # through the state at the chunk's end
        to_end = tl.exp(tl.where(real, tl.load(s + by_head + length - 1) - s_j, 0.0))
        base = (chunk.to(tl.int64) * GROUPS + group) * N * width + head % heads_per_group * P
        d_state = tl.load(d_after + base + n[:, None] * width + p[None, :], mask=(n[:, None] < N) & in_p, other=0.0)
        du = dot(b_j, cast(d_state, b_j.dtype)) * to_end[:, None]
        # through the outputs from each row's own on
        for k in range(first, length, BLOCK_K):
            i = k + tl.arange(0, BLOCK_K)
            here = i < length
            later = (start + i)[:, None]
            s_i = tl.load(s + by_head + i, mask=here, other=0.0)
            c_i = tl.load(b_at + GROUPS * N + later * stride, mask=here[:, None] & in_n, other=0.0)
            dy_i = tl.load(dy_at + later * stride_dy, mask=here[:, None] & in_p, other=0.0)
            sees = (i[None, :] >= j[:, None]) & here[None, :]
            decay = tl.exp(tl.where(sees, s_i[None, :] - s_j[:, None], float("-inf")))
            mixing = dot(b_j, tl.trans(c_i)) * decay
            du = dot(cast(mixing, b_j.dtype), dy_i, du)
        x_j = tl.load(xBC + head * P + p[None, :] + rows * stride, mask=real[:, None] & in_p, other=0.0).to(tl.float32)
        dy_j = tl.load(dy_at + rows * stride_dy, mask=real[:, None] & in_p, other=0.0).to(tl.float32)
        dt_j = tl.load(dt_heads + by_head + j, mask=real, other=0.0)
        dx = dt_j[:, None] * du + tl.load(D + head).to(tl.float32) * dy_j
        target = d_xBC + rows * columns + head * P + p[None, :]
        tl.store(target, cast(dx, d_xBC.dtype.element_ty), mask=real[:, None] & in_p)
        tl.store(x_du + by_head + j, tl.sum(x_j * du, 1), mask=real)
        tl.store(d_D + (chunk * TILES + tile) * HEADS + head, tl.sum(tl.sum(x_j * dy_j, 1), 0))


@triton.jit
def c_gradient_kernel(
    xBC,
    dy,
    s,
    dt_heads,
    before,
    d_xBC,  # out: its C columns
    ds_rows,  # out [H, T] fp32: C . (this head's dC)
    chunk_start,
    chunk_length,
    stride,
    stride_dy,
    num_tokens,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    TILES: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    pid = tl.program_id(0)
    chunk, tile, group = pid // (GROUPS * TILES), pid // GROUPS % TILES, pid % GROUPS
    start, length = tl.load(chunk_start + chunk).to(tl.int64), tl.load(chunk_length + chunk)
    first = tile * BLOCK_M
    if first < length:
        heads_per_group: tl.constexpr = HEADS // GROUPS
        width: tl.constexpr = heads_per_group * P
        columns: tl.constexpr = HEADS * P + 2 * GROUPS * N
        i, n, p = first + tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_P)
        real, in_n, in_p = i < length, n[None, :] < N, p[None, :] < P
        b_at = xBC + HEADS * P + group * N + n[None, :]
        rows = (start + i)[:, None]
        c_i = tl.load(b_at + GROUPS * N + rows * stride, mask=real[:, None] & in_n, other=0.0)
        dc = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        member = tl.arange(0, BLOCK_R)[:, None]
        sums = tl.zeros((BLOCK_R, BLOCK_M), tl.float32)
        for k in range(0, tl.minimum(first + BLOCK_M, length), BLOCK_K):
            j = k + tl.arange(0, BLOCK_K)
            here = j < length
            earlier = (start + j)[:, None]
            seen = (i[:, None] >= j[None, :]) & real[:, None]
            b_j = tl.load(b_at + earlier * stride, mask=here[:, None] & in_n, other=0.0)
            scores = dot(c_i, tl.trans(b_j))
            d_scores = tl.zeros((BLOCK_M, BLOCK_K), tl.float32)
            for r in range(0, heads_per_group):
                head = group * heads_per_group + r
                by_head = head.to(tl.int64) * num_tokens + start
                s_i = tl.load(s + by_head + i, mask=real, other=0.0)
                s_j = tl.load(s + by_head + j, mask=here, other=0.0)
                dt_j = tl.load(dt_heads + by_head + j, mask=here, other=0.0)
                dy_i = tl.load(dy + head * P + p[None, :] + rows * stride_dy, mask=real[:, None] & in_p, other=0.0)
                x_j = tl.load(xBC + head * P + p[None, :] + earlier * stride, mask=here[:, None] & in_p, other=0.0)
                decay = tl.exp(tl.where(seen, s_i[:, None] - s_j[None, :], float("-inf")))
                mine = dot(dy_i, tl.trans(x_j)) * decay * dt_j[None, :]
                sums += tl.where(member == r, tl.sum(mine * scores, 1)[None, :], 0.0)
                d_scores += mine
            dc = dot(cast(d_scores, b_j.dtype), b_j, dc)
        for r in range(0, heads_per_group):
            head = group * heads_per_group + r
            by_head = head.to(tl.int64) * num_tokens + start
            s_i = tl.load(s + by_head + i, mask=real, other=0.0)
            dy_i = tl.load(dy + head * P + p[None, :] + rows * stride_dy, mask=real[:, None] & in_p, other=0.0)
            base = (chunk.to(tl.int64) * GROUPS + group) * N * width + r * P
            # [P, N], the state transposed
            turned = before + base + n[None, :] * width + p[:, None]
            state = tl.load(turned, mask=in_n & (p[:, None] < P), other=0.0)
            through_state = dot(dy_i, cast(state, dy_i.dtype)) * tl.exp(s_i)[:, None]
            within = tl.sum(tl.where(member == r, sums, 0.0), 0)
            tl.store(ds_rows + by_head + i, within + tl.sum(through_state * c_i.to(tl.float32), 1), mask=real)
            dc += through_state
        target = d_xBC + rows * columns + HEADS * P + (GROUPS + group) * N + n[None, :]
        tl.store(target, cast(dc, d_xBC.dtype.element_ty), mask=real[:, None] & in_n)


@triton.jit
def b_gradient_kernel(
    xBC,
    dy,
    s,
    dt_heads,
    d_after,
    d_xBC,  # out: its B columns
    ds_columns,  # out [H, T] fp32: B . (this head's dB), what comes through outputs of the chunk
    ds_ends,  # out [H, T] fp32: the same, what comes through the state at its end
    chunk_start,
    chunk_length,
    stride,
    stride_dy,
    num_tokens,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    P: tl.constexpr,
    N: tl.constexpr,
    TILES: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_K: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_R: tl.constexpr,
):
    pid = tl.program_id(0)
    chunk, tile, group = pid // (GROUPS * TILES), pid // GROUPS % TILES, pid % GROUPS
    start, length = tl.load(chunk_start + chunk).to(tl.int64), tl.load(chunk_length + chunk)
    first = tile * BLOCK_M
    if first < length:
        heads_per_group: tl.constexpr = HEADS // GROUPS
        width: tl.constexpr = heads_per_group * P
        columns: tl.constexpr = HEADS * P + 2 * GROUPS * N
        j, n, p = first + tl.arange(0, BLOCK_M), tl.arange(0, BLOCK_N), tl.arange(0, BLOCK_P)
        real, in_n, in_p = j < length, n[None, :] < N, p[None, :] < P
        b_at = xBC + HEADS * P + group * N + n[None, :]
        rows = (start + j)[:, None]
        b_j = tl.load(b_at + rows * stride, mask=real[:, None] & in_n, other=0.0)
        db = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
        member = tl.arange(0, BLOCK_R)[:, None]
        sums = tl.zeros((BLOCK_R, BLOCK_M), tl.float32)
        for k in range(first, length, BLOCK_K):
            i = k + tl.arange(0, BLOCK_K)
            here = i < length
            later = (start + i)[:, None]
            sees = (i[None, :] >= j[:, None]) & here[None, :]
            c_i = tl.load(b_at + GROUPS * N + later * stride, mask=here[:, None] & in_n, other=0.0)
            scores = dot(b_j, tl.trans(c_i))
            d_scores = tl.zeros((BLOCK_M, BLOCK_K), tl.float32)
            for r in range(0, heads_per_group):
                head = group * heads_per_group + r
                by_head = head.to(tl.int64) * num_tokens + start
                s_j = tl.load(s + by_head + j, mask=real, other=0.0)
                s_i = tl.load(s + by_head + i, mask=here, other=0.0)
                dt_j = tl.load(dt_heads + by_head + j, mask=real, other=0.0)
                x_j = tl.load(xBC + head * P + p[None, :] + rows * stride, mask=real[:, None] & in_p, other=0.0)
                dy_i = tl.load(dy + head * P + p[None, :] + later * stride_dy, mask=here[:, None] & in_p, other=0.0)
                decay = tl.exp(tl.where(sees, s_i[None, :] - s_j[:, None], float("-inf")))
                mine = dot(x_j, tl.trans(dy_i)) * decay * dt_j[:, None]
                sums += tl.where(member == r, tl.sum(mine * scores, 1)[None, :], 0.0)
                d_scores += mine
            db = dot(cast(d_scores, c_i.dtype), c_i, db)
        for r in range(0, heads_per_group):
            head = group * heads_per_group + r
            by_head = head.to(tl.int64) * num_tokens + start
            s_j = tl.load(s + by_head + j, mask=real, other=0.0)
            dt_j = tl.load(dt_heads + by_head + j, mask=real, other=0.0)
            x_j = tl.load(xBC + head * P + p[None, :] + rows * stride, mask=real[:, None] & in_p, other=0.0)
            weight = tl.exp(tl.where(real, tl.load(s + by_head + length - 1) - s_j, 0.0)) * dt_j
            base = (chunk.to(tl.int64) * GROUPS + group) * N * width + r * P
            turned = d_after + base + n[None, :] * width + p[:, None]
            d_state = tl.load(turned, mask=in_n & (p[:, None] < P), other=0.0)
            through_state = dot(x_j, cast(d_state, x_j.dtype)) * weight[:, None]
            within = tl.sum(tl.where(member == r, sums, 0.0), 0)
            tl.store(ds_columns + by_head + j, within, mask=real)
            tl.store(ds_ends + by_head + j, tl.sum(through_state * b_j.to(tl.float32), 1), mask=real)
            db += through_state
        target = d_xBC + rows * columns + HEADS * P + group * N + n[None, :]
        tl.store(target, cast(db, d_xBC.dtype.element_ty), mask=real[:, None] & in_n)


@triton.jit
def dt_gradient_kernel(
    ds_rows,
    ds_columns,
    ds_ends,
    x_du,
    dt_heads,
    at_end,  # [X, H], summed
    A,
    d_dt,  # out [T, H], contiguous
    d_A,  # out [X, H] fp32, in parts
    chunk_start,
    chunk_length,
    num_tokens,
    HEADS: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_H: tl.constexpr,
):
    head_blocks: tl.constexpr = (HEADS + BLOCK_H - 1) // BLOCK_H
    chunk, head_block = tl.program_id(0) // head_blocks, tl.program_id(0) % head_blocks
    start, length = tl.load(chunk_start + chunk), tl.load(chunk_length + chunk)
    row, head = tl.arange(0, BLOCK_Q), head_block * BLOCK_H + tl.arange(0, BLOCK_H)
    real = head < HEADS
    inside = (row[:, None] < length) & real[None, :]
    rows = (start + row).to(tl.int64)
    by_head = head[None, :].to(tl.int64) * num_tokens + rows[:, None]
    steps = tl.load(dt_heads + by_head, mask=inside, other=0.0)
    through_input = tl.load(x_du + by_head, mask=inside, other=0.0)
    ds = tl.load(ds_rows + by_head, mask=inside, other=0.0) - tl.load(ds_columns + by_head, mask=inside, other=0.0)
    # A row decays on its way to the end whatever lies before it, the chunk's first state included.
    ends = tl.load(ds_ends + by_head, mask=inside, other=0.0)
    da = tl.cumsum(ds, 0, reverse=True) + (tl.cumsum(ends, 0) - ends)
    da += tl.load(at_end + chunk * HEADS + head, mask=real, other=0.0)[None, :]
    rates = tl.load(A + head, mask=real, other=0.0).to(tl.float32)
    result = through_input + da * rates[None, :]
    tl.store(d_dt + rows[:, None] * HEADS + head[None, :], cast(result, d_dt.dtype.element_ty), mask=inside)
    tl.store(d_A + chunk * HEADS + head, tl.sum(tl.where(inside, da * steps, 0.0), 0), mask=real)
