"""The chunked form of `ssd` with its own backward: matrix products inside chunks of Q tokens, states between them.

Per head and chunk, with s = cumsum(dt A), U = dt x, w = exp(s_Q - s), L_ij = exp(s_i - s_j) for i >= j:
    Y = (L o C B^T) U + (exp(s) o C) S_prev + D x        S = exp(s_Q) S_prev + (w o B)^T U
The backward follows from the same letters; the gradient of s needs no Q x Q sums, because its row sums are
dY . (Y - D x) and its column sums are U . dU. The mathematics of both directions is in `ssd_chunk_math`; here tokens
go into chunks and back, and groups of heads, which do not meet, are taken as many at a time as a cache holds.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.ssd_chunk_math import Saved, chunk_backward, chunk_forward
from model.kernels.ssd_shape import SSDShape
from model.layout import ChunkMap, PackedLayout

# Numbers of L [X, H, Q, Q] worked on at a time: with more, every pass over them goes to memory.
_AT_ONCE = 1 << 20


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


class _Slices:
    """The groups of one call, cut into runs that are worked on one after the other."""

    def __init__(self, shape: SSDShape, chunks: ChunkMap) -> None:
        groups = shape.num_groups
        least = chunks.num_chunks * shape.num_heads * chunks.size**2 / _AT_ONCE
        self.count = next((n for n in range(1, groups) if groups % n == 0 and n >= least), groups)
        self.whole, self.chunks = shape, chunks
        self.part = SSDShape(shape.num_heads // self.count, shape.head_dim, groups // self.count, shape.state_size)

    def heads(self, index: int) -> slice:
        return slice(index * self.part.num_heads, (index + 1) * self.part.num_heads)

    def groups(self, index: int) -> slice:
        return slice(index * self.part.num_groups, (index + 1) * self.part.num_groups)

    def columns(self, stream: Tensor, index: int) -> tuple[Tensor, Tensor, Tensor]:
        """Views of a chunked stream [X*Q, H*P+2GN]: x [X, H, Q, P], B and C [X, G, Q, N] of one slice."""
        x, b, c = self.whole.split(stream.view(self.chunks.num_chunks, self.chunks.size, -1))
        x = x[:, :, self.groups(index)].unflatten(-1, (-1, self.part.head_dim)).flatten(2, 3)
        b, c = b[:, :, self.groups(index)], c[:, :, self.groups(index)]
        return x.transpose(1, 2), b.transpose(1, 2), c.transpose(1, 2)

    def by_head(self, rows: Tensor, index: int) -> Tensor:
        """A view of chunked rows [X*Q, H*K]: [X, H, Q, K] of one slice."""
        spread = rows.view(self.chunks.num_chunks, self.chunks.size, self.whole.num_heads, -1)
        return spread[:, :, self.heads(index)].transpose(1, 2)

    def states(self, states: Tensor | None, index: int) -> Tensor | None:
        """[B, G, N, R*P] -> [B, H, N, P] of one slice."""
        if states is None:
            return None
        mine = states[:, self.groups(index)].unflatten(-1, (-1, self.part.head_dim))
        return mine.transpose(2, 3).flatten(1, 2)

    def join_states(self, parts: list[Tensor]) -> Tensor:
        """[B, H, N, P] of every slice -> [B, G, N, R*P]."""
        by_head = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        return by_head.unflatten(1, (self.whole.num_groups, -1)).transpose(2, 3).flatten(3)


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
        slices = _Slices(shape, chunks)
        wide = torch.promote_types(xBC.dtype, torch.float32)
        stream, steps = chunks.map.take(xBC).to(wide), chunks.map.take_zero_padded(dt).to(wide)
        initial = None if initial_states is None else initial_states.to(wide)
        y = stream.new_empty(len(stream), shape.inner)
        saved, finals = [], []
        for i in range(slices.count):
            heads = slices.heads(i)
            mine, final = chunk_forward(
                slices.columns(stream, i),
                slices.by_head(steps, i).squeeze(-1),
                A[heads].to(wide),
                D[heads].to(wide),
                slices.states(initial, i),
                chunks,
                out=slices.by_head(y, i),
            )
            saved.append(mine)
            finals.append(final)
        ctx.save_for_backward(*(tensor for part in saved for tensor in part))
        ctx.slices, ctx.layout = slices, layout
        ctx.has_initial = initial_states is not None
        ctx.dtypes = xBC.dtype, dt.dtype, A.dtype, D.dtype
        ctx.set_materialize_grads(False)
        return chunks.map.put_back(y).to(xBC.dtype), slices.join_states(finals)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_y: Tensor | None, grad_final: Tensor | None) -> tuple[Tensor | None, ...]:
        slices: _Slices = ctx.slices
        chunks, shape, size = slices.chunks, slices.whole, len(Saved._fields)
        saved = [Saved(*ctx.saved_tensors[i * size : (i + 1) * size]) for i in range(slices.count)]
        wide = saved[0].x.dtype
        if grad_y is None:
            grad_y = saved[0].x.new_zeros(ctx.layout.num_tokens, shape.inner)
        dy = chunks.map.take_zero_padded(grad_y).to(wide)
        d_stream = dy.new_empty(len(dy), shape.inner + 2 * shape.num_groups * shape.state_size)
        d_steps = dy.new_empty(len(dy), shape.num_heads)
        d_final = None if grad_final is None else grad_final.to(wide)
        parts = [
            chunk_backward(
                saved[i],
                slices.by_head(dy, i),
                slices.states(d_final, i),
                chunks,
                out=(*slices.columns(d_stream, i), slices.by_head(d_steps, i).squeeze(-1)),
            )
            for i in range(slices.count)
        ]
        d_A, d_D = (torch.cat([part[k] for part in parts]) for k in (0, 1))
        d_initial = slices.join_states([part[2] for part in parts]) if ctx.has_initial else None
        d_xBC, d_dt = chunks.map.put_back(d_stream), chunks.map.put_back(d_steps)
        grads = (d_xBC, d_dt, d_A, d_D)
        return *(grad.to(dtype) for grad, dtype in zip(grads, ctx.dtypes, strict=True)), d_initial, None, None
