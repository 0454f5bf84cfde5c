"""The scan's Triton kernels against the recurrence: outputs, final states and every gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from model.kernels.ssd import ssd_reference
from model.kernels.ssd_shape import SSDShape
from model.layout import PackedLayout

Draw = Callable[..., Tensor]
# heads, channels, groups, state: a plain one, one where no size is a power of two, one head per group
SHAPES = [SSDShape(2, 16, 1, 16), SSDShape(6, 3, 2, 5), SSDShape(2, 5, 2, 3)]


def layout_of(lengths: list[int], chunk_size: int, device: str) -> PackedLayout:
    return PackedLayout(torch.tensor([0, *lengths]).cumsum(0), chunk_size, 4, device=torch.device(device))


def leaves_of(draw: Draw, shape: SSDShape, lengths: list[int]) -> list[Tensor]:
    """xBC, dt, A, D, initial states."""
    total = sum(lengths)
    xBC = draw(total, shape.inner + 2 * shape.num_groups * shape.state_size)
    dt, A = draw(total, shape.num_heads).abs() / 2, -draw(shape.num_heads).abs()
    return [xBC, dt, A, draw(shape.num_heads), draw(*shape.states(len(lengths)))]


def form_of(function: Callable[..., Any], shape: SSDShape, layout: PackedLayout) -> Callable[..., Any]:
    """Only the stream is ever narrow: steps, decays and states are fp32 at least."""

    def form(xBC: Tensor, dt: Tensor, A: Tensor, D: Tensor, states: Tensor | None = None) -> Any:
        wide = torch.promote_types(xBC.dtype, torch.float32)
        given = None if states is None else states.to(wide)
        return function(xBC, dt.to(wide), A.to(wide), D.to(wide), shape, layout, given)

    return form


def triton_form(shape: SSDShape, layout: PackedLayout) -> Callable[..., Any]:
    from model.kernels.ssd_triton import triton_ssd

    return form_of(triton_ssd, shape, layout)


def in_torch_bf16(
    xBC: Tensor, dt: Tensor, A: Tensor, D: Tensor, shape: SSDShape, layout: PackedLayout, states: Tensor
) -> tuple[Tensor, Tensor]:
    """What torch makes of the quadratic form in bf16: products of bf16 matrices, exponents in fp32."""
    x, b, c = shape.split(xBC)
    outputs, finals = [], []
    for sequence, (start, length) in enumerate(zip(layout.starts.tolist(), layout.lengths.tolist(), strict=True)):
        here = slice(start, start + length)
        heads, ends = [], []
        for head in range(shape.num_heads):
            group, first = divmod(head * shape.head_dim, shape.group_width)
            columns = slice(first, first + shape.head_dim)
            x_h, b_h, c_h, step = x[here, group, columns], b[here, group], c[here, group], dt[here, head]
            s = (step * A[head]).cumsum(0)
            decay = torch.exp((s[:, None] - s[None]).masked_fill(torch.ones(length, length).triu(1).bool(), -torch.inf))
            u = (x_h * step[:, None]).bfloat16()
            state = states[sequence, group, :, columns]
            y = ((c_h @ b_h.t()) * decay).bfloat16() @ u + (c_h * s.exp()[:, None]).bfloat16() @ state.bfloat16()
            heads.append(y + D[head] * x_h)
            ends.append((b_h * (s[-1] - s).exp()[:, None]).bfloat16().t() @ u + s[-1].exp() * state)
        outputs.append(torch.cat(heads, 1))
        finals.append(torch.stack(ends).unflatten(0, (shape.num_groups, -1)).transpose(1, 2).flatten(2))
    return torch.cat(outputs).bfloat16(), torch.stack(finals).float()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("lengths", "chunk_size"), [([6, 1], 4), ([20], 16)])
def test_equals_the_recurrence(
    shape: SSDShape,
    lengths: list[int],
    chunk_size: int,
    triton_device: str,
    nan_buffers: None,
    agree: Callable[..., None],
    draw: Draw,
) -> None:
    ours = triton_form(shape, layout_of(lengths, chunk_size, triton_device))
    expected = form_of(ssd_reference, shape, layout_of(lengths, chunk_size, "cpu"))
    agree(ours, expected, leaves_of(draw, shape, lengths), torch.float32, triton_device)


def test_without_states_and_with_rows_of_a_wider_matrix(
    triton_device: str, nan_buffers: None, agree: Callable[..., None], draw: Draw
) -> None:
    shape, lengths = SSDShape(2, 3, 1, 5), [3, 2]
    xBC, dt, A, D, _ = leaves_of(draw, shape, lengths)
    wide = torch.cat((draw(5, 3), xBC, draw(5, 2)), 1)
    form = triton_form(shape, layout_of(lengths, 4, triton_device))
    expected = form_of(ssd_reference, shape, layout_of(lengths, 4, "cpu"))
    agree(
        lambda rows, *rest: form(rows[:, 3:-2], *rest),
        lambda rows, *rest: expected(rows[:, 3:-2], *rest),
        [wide, dt, A, D],
        torch.float32,
        triton_device,
    )


def test_bf16_errs_little_more_than_torch(
    triton_device: str, nan_buffers: None, agree: Callable[..., None], draw: Draw
) -> None:
    shape, lengths = SSDShape(2, 16, 1, 16), [33]
    ours = triton_form(shape, layout_of(lengths, 16, triton_device))
    layout = layout_of(lengths, 16, "cpu")
    leaves = leaves_of(draw, shape, lengths)
    narrow = form_of(in_torch_bf16, shape, layout)
    agree(ours, form_of(ssd_reference, shape, layout), leaves, torch.bfloat16, triton_device, narrow)


def test_packed_equals_separate(triton_device: str, draw: Draw, results: Callable[..., list[Tensor]]) -> None:
    shape, lengths = SSDShape(1, 4, 1, 4), [5, 3]
    xBC, dt, A, D, states = leaves_of(draw, shape, lengths)
    packed = results(
        triton_form(shape, layout_of(lengths, 4, triton_device)), [xBC, dt, A, D, states], torch.float32, triton_device
    )
    y = []
    for b, (rows, steps) in enumerate(zip(xBC.split(lengths), dt.split(lengths), strict=True)):
        alone = triton_form(shape, layout_of([lengths[b]], 4, triton_device))
        y.append(results(alone, [rows, steps, A, D, states[b : b + 1]], torch.float32, triton_device)[0])
    torch.testing.assert_close(packed[0], torch.cat(y), rtol=0, atol=1e-6)


def test_strong_decay_and_a_broken_neighbour(triton_device: str, nan_buffers: None, draw: Draw) -> None:
    from model.kernels.ssd_triton import triton_ssd

    shape, lengths = SHAPES[0], [7, 5, 6]
    xBC, dt, _, D, _ = (part.to(triton_device, torch.float32) for part in leaves_of(draw, shape, lengths))
    xBC[7:12] = float("nan")
    A = torch.tensor([-16.0, -16.0], device=triton_device)
    leaves = [part.requires_grad_() for part in (xBC, dt + 50, A, D)]
    y, final = triton_ssd(*leaves, shape, layout_of(lengths, 4, triton_device))
    (y[:7].sum() + y[12:].sum()).backward()
    healthy = [0, 1, 2, 3, 4, 5, 6, *range(12, 18)]
    # Every older token is gone: an output is that of a sequence of one token.
    x, b, c = (part.detach() for part in shape.split(xBC))
    u = x.view(-1, 2, 16) * (dt.detach() + 50)[..., None]
    alone = (c * b).sum(-1)[..., None] * u + x.view(-1, 2, 16) * D.detach()[:, None]
    torch.testing.assert_close(y[healthy], alone.flatten(1)[healthy], rtol=1e-5, atol=1e-4)
    assert torch.isfinite(final[[0, 2]]).all() and y[7:12].isnan().all()
    assert torch.isfinite(xBC.grad[healthy]).all()
