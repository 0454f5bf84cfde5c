"""The sequence borders of a packed batch as Triton kernels read them: small int32 arrays on the device.

    row of the stream -> its sequence and its place in it            (convolution)
    chunk -> its first row and its length; sequence -> its chunks    (scan)

Chunks have at most `chunk_size` tokens, never cross a sequence and are numbered in packed order. Everything follows
from the lengths, which the layout holds on the CPU: nothing waits for the device. Computed once per layout.
"""

from __future__ import annotations

from typing import NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from model.layout import PackedLayout


class TritonLayout(NamedTuple):
    """T rows, B sequences, X chunks; all int32.

    sequence [T], position [T] (0 at each sequence's first row); cu_seqlens [B + 1]; chunk_start, chunk_length [X];
    first_chunk [B + 1].
    """

    sequence: Tensor
    position: Tensor
    cu_seqlens: Tensor
    chunk_start: Tensor
    chunk_length: Tensor
    first_chunk: Tensor


_KNOWN: WeakKeyDictionary[PackedLayout, TritonLayout] = WeakKeyDictionary()


def triton_layout(layout: PackedLayout) -> TritonLayout:
    """The arrays of `layout` on its device."""
    known = _KNOWN.get(layout)
    if known is None:
        known = _KNOWN[layout] = _build(layout)
    return known


def _build(layout: PackedLayout) -> TritonLayout:
    starts, lengths, size = layout.starts, layout.lengths, layout.chunk_size
    sequence = torch.repeat_interleave(torch.arange(layout.num_sequences), lengths)
    position = torch.arange(layout.num_tokens) - starts[sequence]
    per_sequence = (lengths + size - 1) // size
    first_chunk = torch.cat((torch.zeros(1, dtype=torch.int64), per_sequence.cumsum(0)))
    owner = torch.repeat_interleave(torch.arange(layout.num_sequences), per_sequence)
    offset = (torch.arange(len(owner)) - first_chunk[owner]) * size
    length = torch.minimum(lengths[owner] - offset, torch.tensor(size))
    cu_seqlens = torch.cat((starts, torch.tensor([layout.num_tokens])))
    parts = (sequence, position, cu_seqlens, starts[owner] + offset, length, first_chunk)
    return TritonLayout(*(part.to(torch.int32).to(layout.device) for part in parts))
