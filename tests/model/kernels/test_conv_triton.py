"""The convolution's Triton kernels against the specification: borders, states, strided rows, gradients, the update."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.kernels.conv import causal_conv_reference, causal_conv_step
from model.layout import PackedLayout

Draw = Callable[..., Tensor]


def layout_of(lengths: list[int], width: int, device: str) -> PackedLayout:
    return PackedLayout(torch.tensor([0, *lengths]).cumsum(0), 4, width, device=torch.device(device))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize(("lengths", "width", "channels"), [([5, 1, 2, 20], 4, 7), ([3, 2], 2, 70)])
def test_equals_the_reference(
    dtype: torch.dtype,
    with_state: bool,
    lengths: list[int],
    width: int,
    channels: int,
    triton_device: str,
    nan_buffers: None,
    agree: Callable[..., None],
    draw: Draw,
) -> None:
    from model.kernels.conv_triton import triton_causal_conv

    # The rows are a slice of wider ones, as in in_proj's output.
    leaves = [draw(sum(lengths), channels + 4), draw(width, channels), draw(channels)]
    leaves += [draw(len(lengths), width - 1, channels)] if with_state else []
    here, there = layout_of(lengths, width, triton_device), layout_of(lengths, width, "cpu")
    agree(
        lambda x, w, b, *state: triton_causal_conv(x[:, 1:-3], w, b, here, *state),
        lambda x, w, b, *state: causal_conv_reference(x[:, 1:-3], w, b, there, *state),
        leaves,
        dtype,
        triton_device,
    )


def test_a_broken_sequence_does_not_reach_its_neighbours(triton_device: str, nan_buffers: None, draw: Draw) -> None:
    from model.kernels.conv_triton import triton_causal_conv

    layout = layout_of([4, 2, 4], 4, triton_device)
    x, w, b = (part.to(triton_device, torch.float32) for part in (draw(10, 3), draw(4, 3), draw(3)))
    clean = triton_causal_conv(x, w, b, layout)
    x[4:6] = float("nan")
    x.requires_grad_()
    y = triton_causal_conv(x, w, b, layout)
    (y[:4].sum() + y[6:].sum()).backward()
    assert torch.equal(y[:4], clean[:4]) and torch.equal(y[6:], clean[6:])
    assert torch.isfinite(x.grad[:4]).all() and torch.isfinite(x.grad[6:]).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_shifts_the_states_of_its_slots(
    dtype: torch.dtype, triton_device: str, nan_buffers: None, draw: Draw
) -> None:
    from model.kernels.conv_triton import triton_causal_conv_step

    x, w, b, states = (part.to(dtype) for part in (draw(3, 70), draw(4, 65), draw(65), draw(5, 3, 65)))
    slots = torch.tensor([4, 0, 2])
    expected_states = states.clone()
    expected = causal_conv_step(x[:, 2:67], expected_states, w, b, slots)
    held = states.to(triton_device)
    with torch.no_grad():
        y = triton_causal_conv_step(
            x.to(triton_device)[:, 2:67], held, *(part.to(triton_device) for part in (w, b, slots))
        )
    assert torch.equal(held.cpu(), expected_states)
    torch.testing.assert_close(y.cpu(), expected, rtol=1e-5 if dtype == torch.float32 else 8e-3, atol=1e-5)
