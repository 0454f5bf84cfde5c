"""Where the tokens of packed sequences go when a mixer needs them in chunks or in rows of equal length.

Linear layers work on packed tokens [T, D]. The scan works on chunks of Q tokens that never cross a sequence, attention
on small padded batches of sequences of similar length. The index maps between these forms depend on the sequence
lengths alone, so they are computed once per forward pass and shared by all layers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_MOST_PARTS, _PART_TOKENS = 4, 512


@dataclass(frozen=True)
class RowMap:
    """A padded order of packed rows.

    rows [S]: the packed row behind each slot (a pad repeats the last token of its own sequence, never a stranger's).
    slots [T]: the slot of each packed row. pads [P]: the slots that are padding.
    """

    rows: Tensor
    slots: Tensor
    pads: Tensor

    @cached_property
    def is_identity(self) -> bool:
        return self.pads.numel() == 0 and bool((self.rows == torch.arange(len(self.rows)).to(self.rows)).all())

    def take(self, packed: Tensor) -> Tensor:
        """[T, ...] -> [S, ...] without autograd; pads hold a copy of their sequence's last row."""
        return packed if self.is_identity else packed.index_select(0, self.rows)

    def take_zero_padded(self, packed: Tensor) -> Tensor:
        """[T, ...] -> [S, ...] without autograd; pads hold zero."""
        spread = self.take(packed)
        return spread.index_fill_(0, self.pads, 0) if self.pads.numel() else spread

    def put_back(self, spread: Tensor) -> Tensor:
        """[S, ...] -> [T, ...] without autograd; pads are dropped."""
        return spread if self.is_identity else spread.index_select(0, self.slots)

    def spread(self, packed: Tensor) -> Tensor:
        """[T, ...] -> [S, ...]. The gradient of a pad is dropped: nothing may read one into a real token."""
        result: Tensor = packed if self.is_identity else _Spread.apply(packed, self)
        return result

    def collect(self, spread: Tensor) -> Tensor:
        """[S, ...] -> [T, ...], the inverse of `spread`; the gradient at a pad is zero."""
        result: Tensor = spread if self.is_identity else _Collect.apply(spread, self)
        return result


class _Spread(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, packed: Tensor, rows: RowMap) -> Tensor:
        ctx.rows = rows
        return rows.take(packed)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.rows.put_back(grad), None


class _Collect(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, spread: Tensor, rows: RowMap) -> Tensor:
        ctx.rows = rows
        return rows.put_back(spread)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return ctx.rows.take_zero_padded(grad), None


@dataclass(frozen=True)
class ChunkMap:
    """Chunks of Q tokens, ordered by their place in the sequence: all first chunks, then all second chunks, ...

    Sequences are ranked by their number of chunks, longest first, so that step c holds the c-th chunk of ranks
    0..count-1 and state passing works on contiguous slices. steps[c] = (first chunk, count).
    rank_to_sequence [B] and sequence_to_rank [B] translate; last_chunk [B] is where each sequence ends.
    """

    size: int
    map: RowMap
    steps: tuple[tuple[int, int], ...]
    rank_to_sequence: Tensor
    sequence_to_rank: Tensor
    last_chunk: Tensor

    @property
    def num_chunks(self) -> int:
        return len(self.map.rows) // self.size


@dataclass(frozen=True)
class Edges:
    """What a causal convolution of width K needs at sequence borders.

    at_position[m]: packed rows that are token m of their sequence, for m < K-1 (fewer where sequences are shorter).
    head_rows [B, K-1]: the first K-1 rows of each sequence (clamped to its last); head_pairs [R]: which of the
    flattened B*(K-1) exist; head_targets [R]: their packed rows. tail_rows [B, K-1]: the last K-1 rows;
    tail_from_state [B, K-1]: where the tail reaches before the sequence, the slot of the initial state, else -1.
    """

    at_position: tuple[Tensor, ...]
    head_rows: Tensor
    head_pairs: Tensor
    head_targets: Tensor
    tail_rows: Tensor
    tail_from_state: Tensor


@dataclass(frozen=True)
class Bucket:
    """Sequences of similar length as a right-padded batch: slots [offset, offset + batch * length) of its RowMap."""

    offset: int
    batch: int
    length: int
    sequences: Tensor


class PackedLayout:
    """Index maps for sequences packed one after another; sequence b is rows cu_seqlens[b]..cu_seqlens[b+1]-1."""

    def __init__(
        self,
        cu_seqlens: Tensor,
        chunk_size: int,
        conv_kernel: int,
        num_tokens: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        bounds = cu_seqlens.detach().to("cpu", torch.int64)
        lengths = bounds[1:] - bounds[:-1]
        if bounds.dim() != 1 or len(bounds) < 2 or int(bounds[0]) != 0 or int(lengths.min()) < 1:
            raise ValueError(
                f"cu_seqlens must be [0, n1, n1+n2, ...] with every sequence at least one token long, "
                f"got {bounds.tolist()[:8]}"
            )
        if num_tokens is not None and int(bounds[-1]) != num_tokens:
            raise ValueError(f"cu_seqlens ends at {int(bounds[-1])} but {num_tokens} tokens were given")
        self.device = cu_seqlens.device if device is None else device
        self.bounds = bounds.contiguous()
        self.chunk_size = chunk_size
        self.conv_kernel = conv_kernel
        self.starts = bounds[:-1]
        self.lengths = lengths
        self.num_tokens = int(bounds[-1])
        self.num_sequences = len(lengths)

    @cached_property
    def parts(self) -> tuple[int, ...]:
        """Runs of whole sequences of about equal work: run i is sequences parts[i]..parts[i+1]-1.

        Cut by the lengths alone, so that what is added up run by run does not depend on the number of threads.
        """
        count = min(_MOST_PARTS, max(1, self.num_tokens // _PART_TOKENS))
        goals = torch.arange(1, count) * self.num_tokens // count
        cuts = torch.searchsorted(self.bounds, goals).tolist()
        return tuple(sorted({0, *cuts, self.num_sequences}))

    @cached_property
    def token_parts(self) -> tuple[int, ...]:
        """The same runs as bounds of their tokens."""
        return tuple(self.bounds[list(self.parts)].tolist())

    @cached_property
    def state_places(self) -> Tensor:
        """[B] where the states of each sequence begin that keeps one before every chunk and one at its end."""
        per_sequence = (self.lengths + self.chunk_size - 1) // self.chunk_size + 1
        return per_sequence.cumsum(0) - per_sequence

    @cached_property
    def num_states(self) -> int:
        """How many those are."""
        return int(self.state_places[-1]) + -(-int(self.lengths[-1]) // self.chunk_size) + 1

    @cached_property
    def last_rows(self) -> Tensor:
        """[B] packed row of the last token of each sequence."""
        return (self.starts + self.lengths - 1).to(self.device)

    @cached_property
    def chunks(self) -> ChunkMap:
        size = self.chunk_size
        per_sequence = (self.lengths + size - 1) // size
        order = per_sequence.argsort(descending=True, stable=True)
        # counts[c] = sequences that have a c-th chunk
        counts = torch.bincount(per_sequence)[1:].flip(0).cumsum(0).flip(0)
        offsets = counts.cumsum(0) - counts
        step = torch.repeat_interleave(torch.arange(len(counts)), counts)
        sequence = order[torch.arange(len(step)) - offsets[step]]
        position = (step * size)[:, None] + torch.arange(size)
        row_map = self._row_map(position.flatten(), sequence.repeat_interleave(size))
        steps = tuple(zip(offsets.tolist(), counts.tolist(), strict=True))
        rank = order.argsort()
        last = offsets[per_sequence - 1] + rank
        return ChunkMap(size, row_map, steps, order.to(self.device), rank.to(self.device), last.to(self.device))

    @cached_property
    def edges(self) -> Edges:
        width = self.conv_kernel - 1
        offset = torch.arange(width)
        exists = offset < self.lengths[:, None]
        head = self.starts[:, None] + torch.minimum(offset, self.lengths[:, None] - 1)
        at_position = tuple((self.starts + m)[exists[:, m]].to(self.device) for m in range(width))
        pairs = exists.flatten().nonzero().flatten()
        tail = self.lengths[:, None] - width + offset
        from_state = torch.where(tail < 0, tail + width, torch.full_like(tail, -1))
        return Edges(
            at_position,
            head.to(self.device),
            pairs.to(self.device),
            head.flatten()[pairs].to(self.device),
            (self.starts[:, None] + tail.clamp(min=0)).to(self.device),
            from_state.to(self.device),
        )

    @cached_property
    def padded(self) -> tuple[RowMap, tuple[Bucket, ...]]:
        """Buckets of sequences in which no sequence is shorter than half of the longest: padding at most doubles."""
        order = self.lengths.argsort(descending=True, stable=True)
        ranked = self.lengths[order].tolist()
        buckets, first, offset, positions, sequences = [], 0, 0, [], []
        while first < len(ranked):
            length = ranked[first]
            last = first
            while last < len(ranked) and 2 * ranked[last] >= length:
                last += 1
            members = order[first:last]
            buckets.append(Bucket(offset, last - first, length, members.to(self.device)))
            positions.append(torch.arange(length).repeat(last - first))
            sequences.append(members.repeat_interleave(length))
            offset += (last - first) * length
            first = last
        return self._row_map(torch.cat(positions), torch.cat(sequences)), tuple(buckets)

    def _row_map(self, position: Tensor, sequence: Tensor) -> RowMap:
        """The map whose slot i is token position[i] of sequence[i], a pad where the sequence is shorter."""
        inside = position < self.lengths[sequence]
        rows = self.starts[sequence] + torch.minimum(position, self.lengths[sequence] - 1)
        slots = torch.empty(self.num_tokens, dtype=torch.int64)
        slots[rows[inside]] = inside.nonzero().flatten()
        pads = (~inside).nonzero().flatten()
        return RowMap(rows.to(self.device), slots.to(self.device), pads.to(self.device))
