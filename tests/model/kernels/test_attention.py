"""Packed causal attention and attention over cached keys against scores written out."""

from __future__ import annotations

import pytest
import torch

from model.kernels.attention import AttentionShape, attend_cached, attention, attention_reference
from model.layout import PackedLayout

SHAPES = [AttentionShape(4, 2, 8), AttentionShape(3, 3, 4), AttentionShape(4, 1, 4)]


def layout_of(lengths: list[int]) -> PackedLayout:
    return PackedLayout(torch.tensor([0, *lengths]).cumsum(0), chunk_size=4, conv_kernel=4)


def qkv_of(shape: AttentionShape, tokens: int) -> torch.Tensor:
    width = (shape.num_heads + 2 * shape.num_kv_heads) * shape.head_dim
    return torch.randn(tokens, width, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lengths", [[1], [6, 6], [3, 40, 9, 1, 20]])
def test_fast_equals_reference(shape: AttentionShape, lengths: list[int]) -> None:
    results = []
    for form in (attention, attention_reference):
        qkv = qkv_of(shape, sum(lengths)).requires_grad_()
        y = form(qkv, shape, layout_of(lengths))
        y.sin().sum().backward()
        results.append((y.detach(), qkv.grad))
    for ours, expected in zip(*results, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_cached_equals_the_last_rows_of_the_whole(shape: AttentionShape) -> None:
    length, new = 9, 4
    qkv = qkv_of(shape, length)
    q, k, v = shape.split(qkv)
    whole = attention_reference(qkv, shape, layout_of([length]))
    # Positions beyond the visible ones hold what would ruin the result if they were read.
    poison = torch.full((1, shape.num_kv_heads, 3, shape.head_dim), 1e6, dtype=torch.float64)
    keys, values = (torch.cat((part.transpose(0, 1)[None], poison), 2) for part in (k, v))
    visible = torch.arange(length - new + 1, length + 1)[None]
    y = attend_cached(q[None, length - new :], keys, values, visible)
    torch.testing.assert_close(y[0], whole[length - new :], rtol=0, atol=1e-12)


def test_the_future_is_invisible() -> None:
    shape = SHAPES[0]
    qkv = qkv_of(shape, 8)
    before = attention(qkv, shape, layout_of([8]))
    qkv[5:] = 100
    assert torch.equal(attention(qkv, shape, layout_of([8]))[:5], before[:5])


def test_gradcheck() -> None:
    shape, layout = SHAPES[0], layout_of([3, 1, 4])
    assert torch.autograd.gradcheck(lambda qkv: attention(qkv, shape, layout), [qkv_of(shape, 8).requires_grad_()])


@pytest.mark.parametrize("shape", SHAPES)
def test_gradcheck_against_a_cache(shape: AttentionShape) -> None:
    q, k, v = (part[None] for part in shape.split(qkv_of(shape, 5)))
    leaves = [part.clone().requires_grad_() for part in (q[:, 3:], k.transpose(1, 2), v.transpose(1, 2))]
    visible = torch.tensor([[4, 5]])
    assert torch.autograd.gradcheck(lambda *parts: attend_cached(*parts, visible), leaves)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_packed_equals_separate(dtype: torch.dtype, tolerance: float) -> None:
    shape, lengths = SHAPES[0], [6, 1, 13, 5]
    qkv = qkv_of(shape, sum(lengths)).to(dtype)

    def run(of: list[int], rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        leaf = rows.clone().requires_grad_()
        y = attention(leaf, shape, layout_of(of))
        (y.square().sum() / 2).backward()
        return y.detach(), leaf.grad

    packed = run(lengths, qkv)
    alone = zip(*(run([n], rows) for n, rows in zip(lengths, qkv.split(lengths), strict=True)), strict=True)
    for got, want in zip(packed, map(torch.cat, alone), strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=tolerance)


def test_cached_rows_read_the_slots_named() -> None:
    shape = SHAPES[0]
    q, k, v = shape.split(qkv_of(shape, 12))
    keys, values = (part.view(3, 4, *part.shape[1:]).transpose(1, 2) for part in (k, v))
    visible, slots = torch.tensor([[4], [2]]), torch.tensor([2, 0])
    y = attend_cached(q[:2, None], keys, values, visible, slots)
    assert torch.equal(y, attend_cached(q[:2, None], keys[slots], values[slots], visible))
