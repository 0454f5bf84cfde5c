"""Both directions of the state-space scan for tokens that lie in chunks; the formulas stand in `ssd_chunked`.

X chunks of Q tokens, H heads of P channels in G groups of R, N state size; pads hold dt = 0. What is per head lies head
by head, so that every product is a batch of plain matrices. Everything is in one dtype, fp32 at least. Exponentials are
to base 2: torch's exp2 is several times as fast as its exp on some CPUs and never slower.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from model.layout import ChunkMap

_LOG2_E = math.log2(math.e)


class Saved(NamedTuple):
    """What the backward pass reads."""

    x: Tensor  # [X, H, Q, P]
    b: Tensor  # [X*G, Q, N]
    c: Tensor  # [X*G, Q, N]
    dt: Tensor  # [X, H, Q]
    A: Tensor  # [H]
    D: Tensor  # [H]
    u: Tensor  # [X*H, Q, P]
    decay: Tensor  # L [X*H, Q, Q]
    mixing: Tensor  # L o C B^T [X*H, Q, Q]
    from_start: Tensor  # exp(s) [X, H, Q]
    to_end: Tensor  # exp(s_Q - s) [X, H, Q]
    b_decayed: Tensor  # [X*H, Q, N]
    c_decayed: Tensor  # [X*H, Q, N]
    before: Tensor  # [X, H, N, P], the state that each chunk starts from
    after: Tensor  # [X, H, N, P], the state at its end
    y: Tensor  # [X, H, Q, P], without D x


def chunk_forward(
    xbc: tuple[Tensor, Tensor, Tensor],
    dt: Tensor,
    A: Tensor,
    D: Tensor,
    initial: Tensor | None,
    chunks: ChunkMap,
    out: Tensor,
) -> tuple[Saved, Tensor]:
    """x [X, H, Q, P], B and C [X, G, Q, N], dt [X, H, Q], initial [B, H, N, P]; y to `out` [X, H, Q, P].

    The inputs and `out` may be views in any order of strides. Returns what to save and the final states [B, H, N, P].
    """
    x, dt = xbc[0].contiguous(), dt.contiguous()
    b, c = (part.flatten(0, 1).contiguous() for part in xbc[1:])
    num_groups = xbc[1].shape[1]
    s = (dt * (A * _LOG2_E)[:, None]).cumsum(-1)
    from_start, to_end = torch.exp2(s), torch.exp2(s[..., -1:] - s)
    # 1. inside each chunk
    u = (x * dt[..., None]).flatten(0, 1)
    decay = _decay_matrix(s)
    scores = torch.bmm(c, b.transpose(1, 2))  # C B^T, shared by the heads of a group
    mixing = (decay.unflatten(1, (num_groups, -1)) * scores.unflatten(0, (-1, num_groups))[:, :, None]).flatten(0, 2)
    y = torch.bmm(mixing, u)
    # 2. what each chunk adds to the state at its end
    b_decayed, c_decayed = _spread(b, to_end), _spread(c, from_start)
    added = torch.bmm(b_decayed.transpose(1, 2), u).unflatten(0, s.shape[:2])
    # 3. pass states from chunk to chunk
    chunk_decay = from_start[..., -1:, None]
    before = _pass_states(added, chunk_decay, initial, chunks)
    after = torch.addcmul(added, before, chunk_decay)
    # 4. read the state that came in
    y = y.baddbmm_(c_decayed, before.flatten(0, 1)).view_as(x)
    torch.addcmul(y, x, D[:, None, None], out=out)
    saved = Saved(
        x, b, c, dt, A, D, u, decay.flatten(0, 1), mixing, from_start, to_end, b_decayed, c_decayed, before, after, y
    )
    return saved, after.index_select(0, chunks.last_chunk)


def chunk_backward(
    saved: Saved, dy: Tensor, d_final: Tensor | None, chunks: ChunkMap, out: tuple[Tensor, Tensor, Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """dy [X, H, Q, P], d_final [B, H, N, P]; gradients of x, B, C and dt to `out`, views of their shapes.

    Returns the gradients of A [H], D [H] and the initial states [B, H, N, P].
    """
    x, b, c, dt, A, D, u, decay, mixing, from_start, to_end, b_decayed, c_decayed, before, after, y = saved
    dy = dy.contiguous()
    dy_flat = dy.flatten(0, 1)
    d_x, d_b, d_c, d_dt = out
    # 4. the state that came in
    d_before = torch.bmm(c_decayed.transpose(1, 2), dy_flat).view_as(before)
    d_c_decayed = torch.bmm(dy_flat, before.flatten(0, 1).transpose(1, 2))
    # 3. pass gradients back from chunk to chunk
    chunk_decay = from_start[..., -1:, None]
    d_after = _pass_gradients(d_before, chunk_decay, d_final, chunks)
    d_after_flat = d_after.flatten(0, 1)
    # 2. and 1. the inputs of the chunk
    d_b_decayed = torch.bmm(u, d_after_flat.transpose(1, 2))
    d_scores = _sum_heads(torch.bmm(dy_flat, u.transpose(1, 2)).mul_(decay), len(b))
    grad_b = _collect(d_b_decayed, to_end, len(b)).baddbmm_(d_scores.transpose(1, 2), c)
    grad_c = _collect(d_c_decayed, from_start, len(c)).baddbmm_(d_scores, b)
    d_b.copy_(grad_b.view(d_b.shape))
    d_c.copy_(grad_c.view(d_c.shape))
    du = torch.bmm(mixing.transpose(1, 2), dy_flat).baddbmm_(b_decayed, d_after_flat).view_as(x)
    # the exponents; one buffer serves all three row sums
    product = x * du
    x_du = product.sum(-1)
    ds = torch.mul(dy, y, out=product).sum(-1).addcmul_(x_du, dt, value=-1)
    d_D = torch.mul(dy, x, out=product).sum((0, 2, 3))
    # What a chunk's end receives, every row of it receives: all of them lie before the end.
    at_end = (d_after * after).sum((-2, -1)) + ds.sum(-1)
    da = ds.sub_(ds.cumsum(-1)).add_(at_end[..., None])
    torch.addcmul(x_du, da, A[:, None], out=d_dt)
    d_A = da.mul_(dt).sum((0, 2))
    torch.addcmul(du.mul_(dt[..., None]), dy, D[:, None, None], out=d_x)
    first = slice(chunks.steps[0][1])
    by_rank = torch.addcmul(d_before[first], d_after[first], chunk_decay[first])
    return d_A, d_D, by_rank.index_select(0, chunks.sequence_to_rank)


@lru_cache(maxsize=8)
def _future(size: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """[Q, Q], -inf above the diagonal."""
    with torch.inference_mode(False):
        return torch.full((size, size), float("-inf"), dtype=dtype, device=device).triu_(1)


def _decay_matrix(s: Tensor) -> Tensor:
    """L [X, H, Q, Q] from s [X, H, Q]; the future is masked before the exponential can overflow."""
    return (s[..., :, None] - s[..., None, :]).add_(_future(s.shape[-1], s.dtype, s.device)).exp2_()


def _spread(by_group: Tensor, weights: Tensor) -> Tensor:
    """[X*G, Q, N] weighted by each head of the group, weights [X, H, Q] -> [X*H, Q, N]."""
    by_head = weights.view(len(by_group), -1, weights.shape[-1], 1)
    return (by_group[:, None] * by_head).flatten(0, 1)


def _collect(by_head: Tensor, weights: Tensor, count: int) -> Tensor:
    """[X*H, Q, N] (overwritten) weighted by [X, H, Q] and summed over the heads of a group: [count = X*G, Q, N]."""
    return _sum_heads(by_head.mul_(weights.flatten(0, 1)[..., None]), count)


def _sum_heads(by_head: Tensor, count: int) -> Tensor:
    """[X*H, ...] -> [count = X*G, ...]."""
    heads = by_head.unflatten(0, (count, -1))
    # torch adds two much faster than it sums over two.
    return heads[:, 0] + heads[:, 1] if heads.shape[1] == 2 else heads.sum(1)


def _pass_states(added: Tensor, decay: Tensor, initial: Tensor | None, chunks: ChunkMap) -> Tensor:
    """The state that each chunk starts from [X, H, N, P]; initial by sequence."""
    before = torch.empty_like(added)
    first = before[: chunks.steps[0][1]]
    if initial is None:
        first.zero_()
    else:
        first.copy_(initial.index_select(0, chunks.rank_to_sequence))
    for (now, _), (then, count) in zip(chunks.steps, chunks.steps[1:], strict=False):
        here = slice(now, now + count)
        torch.addcmul(added[here], before[here], decay[here], out=before[then : then + count])
    return before


def _pass_gradients(d_before: Tensor, decay: Tensor, d_final: Tensor | None, chunks: ChunkMap) -> Tensor:
    """The gradient of the state at each chunk's end [X, H, N, P]; d_final by sequence."""
    d_after = torch.zeros_like(d_before)
    if d_final is not None:
        d_after.index_copy_(0, chunks.last_chunk, d_final)
    for step in range(len(chunks.steps) - 1, 0, -1):
        (now, _), (then, count) = chunks.steps[step - 1], chunks.steps[step]
        here = slice(then, then + count)
        torch.addcmul(d_before[here], d_after[here], decay[here], out=d_after[now : now + count])
    return d_after
