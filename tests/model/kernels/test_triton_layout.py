"""The borders of packed sequences as kernels read them."""

from __future__ import annotations

import torch

from model.kernels.triton_layout import triton_layout
from model.layout import PackedLayout


def test_worked_by_hand() -> None:
    layout = PackedLayout(torch.tensor([0, 5, 6, 10]), chunk_size=2, conv_kernel=4)
    rows = triton_layout(layout)
    assert rows.sequence.tolist() == [0, 0, 0, 0, 0, 1, 2, 2, 2, 2]
    assert rows.position.tolist() == [0, 1, 2, 3, 4, 0, 0, 1, 2, 3]
    assert rows.cu_seqlens.tolist() == [0, 5, 6, 10]
    assert rows.chunk_start.tolist() == [0, 2, 4, 5, 6, 8]
    assert rows.chunk_length.tolist() == [2, 2, 1, 1, 2, 2]
    assert rows.first_chunk.tolist() == [0, 3, 4, 6]
    assert all(part.dtype == torch.int32 for part in rows)


def test_is_made_once_and_for_each_layout() -> None:
    first, second = (PackedLayout(torch.tensor([0, n]), chunk_size=2, conv_kernel=4) for n in (3, 5))
    assert triton_layout(first) is triton_layout(first)
    assert triton_layout(second).cu_seqlens.tolist() == [0, 5]
