"""Split decoding on Triton against attention written out: any number of stretches, queries, slots and odd sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.kernels.attention import attend_cached

Draw = Callable[..., Tensor]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("queries", "heads", "kv_heads", "dim"), [(1, 6, 2, 8), (3, 4, 1, 20), (2, 3, 3, 16)])
@pytest.mark.parametrize("splits", [1, 3])
def test_equals_the_reference(
    dtype: torch.dtype,
    queries: int,
    heads: int,
    kv_heads: int,
    dim: int,
    splits: int,
    triton_device: str,
    nan_buffers: None,
    draw: Draw,
) -> None:
    from model.kernels.attention_triton import triton_attend_cached

    q, keys, values = draw(2, queries, heads, dim), draw(4, kv_heads, 150, dim), draw(4, kv_heads, 150, dim)
    slots = torch.tensor([3, 1])
    visible = torch.tensor([[1, 2, 3], [138, 139, 140]])[:, :queries].contiguous()
    expected = attend_cached(q, keys, values, visible, slots)
    narrow = attend_cached(*(part.to(dtype) for part in (q, keys, values)), visible, slots).double()
    # What no query may see must not even be multiplied by zero.
    for row, slot in enumerate(slots.tolist()):
        for part in (keys, values):
            part[slot, :, int(visible[row].max()) :] = float("nan")
    cached = [part.to(triton_device, dtype) for part in (q, keys, values)]
    y = triton_attend_cached(*cached, visible.to(triton_device), slots.to(triton_device), splits).cpu().double()
    allowed = 1e-5 * expected.norm() if dtype == torch.float32 else 2 * (narrow - expected).norm()
    assert (y - expected).norm() <= allowed


def test_large_scores_do_not_overflow(triton_device: str, draw: Draw) -> None:
    from model.kernels.attention_triton import triton_attend_cached

    q, keys, values = 300 * draw(1, 1, 2, 16), 300 * draw(1, 1, 70, 16), draw(1, 1, 70, 16)
    visible = torch.tensor([[70]])
    cached = [part.to(triton_device, torch.float32) for part in (q, keys, values)]
    y = triton_attend_cached(*cached, visible.to(triton_device), num_splits=2)
    torch.testing.assert_close(y.cpu().double(), attend_cached(q, keys, values, visible), rtol=1e-5, atol=1e-5)
