"""The chunked form of `ssd` with its own backward: matrix products inside chunks of Q tokens, states between them.

Per chunk, with s = cumsum(dt A), U = dt x, w = exp(s_Q - s), L_ij = exp(s_i - s_j) for i >= j:
    Y = (L o C B^T) U + exp(s) o (C S_prev) + D x        S = exp(s_Q) S_prev + B^T (w o U)
The backward follows from the same letters; the gradient of s needs no Q x Q sums, because its row sums are
dY . (Y - D x) and its column sums are U . dU. Shapes as in `ssd`; X chunks of Q tokens.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.ssd_shape import SSDShape
from model.layout import ChunkMap, PackedLayout


def chunked_ssd(
    xBC: Tensor,
    dt: Tensor,
    A: Tensor,
    D: Tensor,
    shape: SSDShape,
    layout: PackedLayout,
    initial_states: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """As `ssd`. Gradients flow to every tensor given, the initial states included."""
    result: tuple[Tensor, Tensor] = _ChunkedSSD.apply(xBC, dt, A, D, initial_states, shape, layout)
    return result


_LOG2_E = math.log2(math.e)


class _Chunks(NamedTuple):
    """What both directions need, in fp32 at least."""

    x: Tensor  # [X, Q, H, P]
    b: Tensor  # [X*G, Q, N]
    c: Tensor  # [X*G, Q, N]
    dt: Tensor  # [X, Q, H], zero at pads
    s: Tensor  # [X, Q, H], cumulative dt A


def _gather(xBC: Tensor, dt: Tensor, A: Tensor, shape: SSDShape, chunks: ChunkMap) -> _Chunks:
    wide = torch.promote_types(xBC.dtype, torch.float32)
    num, size = chunks.num_chunks, chunks.size
    stream = chunks.map.take(xBC).to(wide).view(num, size, -1)
    width = shape.num_groups * shape.state_size
    x, b, c = stream.split((shape.inner, width, width), -1)
    dt_chunk = chunks.map.take_zero_padded(dt).to(wide).view(num, size, -1)
    return _Chunks(
        x.contiguous().unflatten(-1, (shape.num_heads, shape.head_dim)),
        _by_group(b, shape.num_groups),
        _by_group(c, shape.num_groups),
        dt_chunk,
        (dt_chunk * A.to(wide)).cumsum(1),
    )


def _by_group(rows: Tensor, num_groups: int) -> Tensor:
    """[X, Q, G*K] -> [X*G, Q, K], a view when there is one group."""
    return rows.unflatten(-1, (num_groups, -1)).transpose(1, 2).flatten(0, 1)


def _from_groups(rows: Tensor, num_groups: int) -> Tensor:
    """[X*G, Q, K] -> [X, Q, G*K]."""
    return rows.unflatten(0, (-1, num_groups)).transpose(1, 2).flatten(2)


def _by_head(rows: Tensor) -> Tensor:
    """[X, Q, H, P] -> [X*H, Q, P]."""
    return rows.transpose(1, 2).flatten(0, 1)


def _decay_matrix(s: Tensor) -> Tensor:
    """L [X, H, Q, Q] from s [X, Q, H]; the future is masked before the exponential, where it could overflow.

    Base 2, because torch's exp2 is several times as fast as its exp on some CPUs and never slower.
    """
    by_head = (s * _LOG2_E).transpose(1, 2).contiguous()
    size = by_head.shape[-1]
    future = torch.full((size, size), float("-inf"), dtype=s.dtype, device=s.device).triu_(1)
    return (by_head[..., :, None] - by_head[..., None, :]).add_(future).exp2_()


def _per_channel(heads: Tensor, shape: SSDShape) -> Tensor:
    """[X, H] -> [X, G, 1, R*P], to scale states."""
    return heads.repeat_interleave(shape.head_dim, -1).unflatten(-1, (shape.num_groups, 1, -1))


class _ChunkedSSD(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        xBC: Tensor,
        dt: Tensor,
        A: Tensor,
        D: Tensor,
        initial_states: Tensor | None,
        shape: SSDShape,
        layout: PackedLayout,
    ) -> tuple[Tensor, Tensor]:
        chunks = layout.chunks
        x, b, c, dt_chunk, s = parts = _gather(xBC, dt, A, shape, chunks)
        heads, groups = shape.num_heads, shape.num_groups
        # 1. inside each chunk
        u = x * dt_chunk[..., None]
        decay_matrix = _decay_matrix(s)
        scores = torch.bmm(c, b.transpose(1, 2))  # C B^T, shared by the heads of a group
        mixing = (decay_matrix.unflatten(1, (groups, -1)) * scores.unflatten(0, (-1, groups))[:, :, None]).view(
            -1, chunks.size, chunks.size
        )
        within = torch.bmm(mixing, _by_head(u)).unflatten(0, (-1, heads))
        # 2. what each chunk adds to the state at its end
        to_end = torch.exp(s[:, -1:] - s)
        weighted = _by_group((u * to_end[..., None]).flatten(2), groups)
        added = torch.bmm(b.transpose(1, 2), weighted).unflatten(0, (-1, groups))
        # 3. pass states from chunk to chunk
        chunk_decay = _per_channel(torch.exp(s[:, -1]), shape)
        before, after = _pass_states(added, chunk_decay, initial_states, chunks)
        # 4. read the state that came in
        from_start = torch.exp(s)
        y = torch.bmm(c, before.flatten(0, 1)).unflatten(0, (-1, groups)).transpose(1, 2).reshape(x.shape)
        y.mul_(from_start[..., None]).add_(within.transpose(1, 2))
        out = chunks.map.put_back(torch.addcmul(y, x, D.to(x.dtype)[:, None]).flatten(0, 1).flatten(1))
        final = after.index_select(0, chunks.last_chunk)
        ctx.save_for_backward(*parts, A, D, u, decay_matrix, mixing, to_end, weighted, before, after, y)
        ctx.shape, ctx.layout = shape, layout
        ctx.has_initial = initial_states is not None
        ctx.dtypes = xBC.dtype, dt.dtype
        ctx.set_materialize_grads(False)
        return out.to(xBC.dtype), final

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor | None, grad_final: Tensor | None) -> tuple[Tensor | None, ...]:
        x, b, c, dt_chunk, s, A, D, u, decay_matrix, mixing, to_end, weighted, before, after, y = ctx.saved_tensors
        shape, chunks = ctx.shape, ctx.layout.chunks
        groups, heads = shape.num_groups, shape.num_heads
        grad_out = grad_y if grad_y is not None else x.new_zeros(ctx.layout.num_tokens, shape.inner)
        dy = chunks.map.take_zero_padded(grad_out).to(x.dtype).view(x.shape)
        # 4. the state that came in
        dy_decayed = _by_group((dy * torch.exp(s)[..., None]).flatten(2), groups)
        d_before = torch.bmm(c.transpose(1, 2), dy_decayed).unflatten(0, (-1, groups))
        # 3. pass gradients back from chunk to chunk
        chunk_decay = _per_channel(torch.exp(s[:, -1]), shape)
        d_after, d_initial = _pass_gradients(d_before, chunk_decay, grad_final, chunks, ctx.layout.num_sequences)
        d_after_flat = d_after.flatten(0, 1)
        # 2. and 1. the inputs of the chunk
        dy_by_head = _by_head(dy)
        d_mixing = torch.bmm(dy_by_head, _by_head(u).transpose(1, 2)).view_as(decay_matrix)
        d_scores = (d_mixing.mul_(decay_matrix)).unflatten(1, (groups, -1)).sum(2).flatten(0, 1)
        du = torch.bmm(b, d_after_flat).unflatten(0, (-1, groups)).transpose(1, 2).reshape(x.shape)
        du.mul_(to_end[..., None])
        du.add_(torch.bmm(mixing.transpose(1, 2), dy_by_head).unflatten(0, (-1, heads)).transpose(1, 2))
        d_b = torch.bmm(d_scores.transpose(1, 2), c).baddbmm_(weighted, d_after_flat.transpose(1, 2))
        d_c = torch.bmm(d_scores, b).baddbmm_(dy_decayed, before.flatten(0, 1).transpose(1, 2))
        # the exponents
        x_du = (x * du).sum(-1)
        ds = (dy * y).sum(-1) - x_du * dt_chunk
        at_end = (d_after * after).sum(2).unflatten(-1, (-1, shape.head_dim)).sum(-1).flatten(1)
        ds[:, -1] += at_end
        da = ds.sum(1, keepdim=True) - ds.cumsum(1) + ds
        d_dt = chunks.map.put_back((x_du + da * A.to(da.dtype)).flatten(0, 1)).to(ctx.dtypes[1])
        d_A = (da * dt_chunk).sum((0, 1)).to(A.dtype)
        d_D = (dy * x).sum((0, 1, 3)).to(D.dtype)
        d_x = du.mul_(dt_chunk[..., None]).addcmul_(dy, D.to(x.dtype)[:, None])
        stream = torch.cat((d_x.flatten(2), _from_groups(d_b, groups), _from_groups(d_c, groups)), -1)
        d_xBC = chunks.map.put_back(stream.flatten(0, 1)).to(ctx.dtypes[0])
        return d_xBC, d_dt, d_A, d_D, (d_initial if ctx.has_initial else None), None, None


def _pass_states(added: Tensor, decay: Tensor, initial: Tensor | None, chunks: ChunkMap) -> tuple[Tensor, Tensor]:
    """States before and after each chunk, both [X, G, N, R*P]."""
    before, after = torch.empty_like(added), torch.empty_like(added)
    for step, (first, count) in enumerate(chunks.steps):
        here = slice(first, first + count)
        if step:
            previous = chunks.steps[step - 1][0]
            before[here] = after[previous : previous + count]
        elif initial is None:
            before[here] = 0
        else:
            before[here] = initial.to(added.dtype).index_select(0, chunks.rank_to_sequence)
        torch.addcmul(added[here], before[here], decay[here], out=after[here])
    return before, after


def _pass_gradients(
    d_before: Tensor, decay: Tensor, grad_final: Tensor | None, chunks: ChunkMap, num_sequences: int
) -> tuple[Tensor, Tensor]:
    """Gradients of the states after each chunk [X, G, N, R*P] and of the initial states, by sequence."""
    d_after = torch.empty_like(d_before)
    if grad_final is None:
        carried = d_before.new_zeros((num_sequences, *d_before.shape[1:]))
    else:
        carried = grad_final.to(d_before.dtype).index_select(0, chunks.rank_to_sequence)
    for first, count in reversed(chunks.steps):
        here = slice(first, first + count)
        d_after[here] = carried[:count]
        torch.addcmul(d_before[here], carried[:count], decay[here], out=carried[:count])
    return d_after, carried.index_select(0, chunks.sequence_to_rank)
