"""One token at a time, in place: against the specification, against the whole scan, and on Triton."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.kernels.ssd import ssd_reference
from model.kernels.ssd_shape import SSDShape
from model.kernels.state_update import state_update, state_update_reference
from model.layout import PackedLayout

Draw = Callable[..., Tensor]
SHAPES = [SSDShape(2, 3, 1, 4), SSDShape(4, 2, 2, 3), SSDShape(3, 2, 3, 2)]


def inputs_of(draw: Draw, shape: SSDShape, batch: int, slots: int) -> list[Tensor]:
    """xBC, raw dt, A, D, states, dt_bias, z."""
    xBC = draw(batch, shape.inner + 2 * shape.num_groups * shape.state_size)
    dt, A, D = draw(batch, shape.num_heads), -draw(shape.num_heads).abs(), draw(shape.num_heads)
    return [xBC, dt, A, D, draw(*shape.states(slots)), draw(shape.num_heads), draw(batch, shape.inner)]


def test_worked_by_hand() -> None:
    # A = -ln 2, dt = 1: the state halves, then gets B x = 3 * 2; y = C S + D x = 5 * 7 + 10 * 2
    shape = SSDShape(1, 1, 1, 1)
    state = torch.tensor([[[[2.0]]]])
    xBC = torch.tensor([[2.0, 3.0, 5.0]])
    y = state_update(xBC, torch.ones(1, 1), -torch.tensor([2.0]).log(), torch.tensor([10.0]), shape, state)
    torch.testing.assert_close(y, torch.tensor([[55.0]]))
    torch.testing.assert_close(state.flatten(), torch.tensor([7.0]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_slots", [False, True])
def test_equals_the_reference(shape: SSDShape, with_slots: bool, draw: Draw) -> None:
    xBC, dt, A, D, states, dt_bias, z = inputs_of(draw, shape, 3, 5 if with_slots else 3)
    slots = torch.tensor([3, 0, 4]) if with_slots else None
    read = torch.arange(3) if slots is None else slots
    y_expected, expected = state_update_reference(xBC, dt, A, D, shape, states[read], dt_bias, z)
    held = states.clone()
    y = state_update(xBC, dt, A, D, shape, held, dt_bias=dt_bias, z=z, slots=slots)
    torch.testing.assert_close(y, y_expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(held[read], expected, rtol=0, atol=1e-12)
    others = [slot for slot in range(len(states)) if slot not in read.tolist()]
    assert torch.equal(held[others], states[others])


@pytest.mark.parametrize("shape", SHAPES)
def test_the_reference_steps_through_the_recurrence(shape: SSDShape, draw: Draw) -> None:
    xBC, dt, A, D, states, _, _ = inputs_of(draw, shape, 4, 1)
    dt = dt.abs()
    layout = PackedLayout(torch.tensor([0, 4]), 4, 4)
    whole, final = ssd_reference(xBC, dt, A, D, shape, layout, states)
    for t in range(4):
        y, states = state_update_reference(xBC[t : t + 1], dt[t : t + 1], A, D, shape, states)
        torch.testing.assert_close(y[0], whole[t], rtol=0, atol=1e-12)
    torch.testing.assert_close(states, final, rtol=0, atol=1e-12)


def test_gradcheck(draw: Draw) -> None:
    shape = SHAPES[1]
    leaves = [part.requires_grad_() for part in inputs_of(draw, shape, 2, 2)]

    def function(*parts: Tensor) -> tuple[Tensor, Tensor]:
        xBC, dt, A, D, states, dt_bias, z = parts
        held = states.clone()
        return state_update(xBC, dt, A, D, shape, held, dt_bias=dt_bias, z=z), held

    assert torch.autograd.gradcheck(function, leaves)


@pytest.mark.parametrize("shape", [*SHAPES[1:], SSDShape(2, 24, 1, 16)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("plain", [False, True])
def test_triton_equals_the_reference(
    shape: SSDShape, dtype: torch.dtype, plain: bool, triton_device: str, nan_buffers: None, draw: Draw
) -> None:
    from model.kernels.state_update_triton import triton_state_update

    xBC, dt, A, D, states, dt_bias, z = inputs_of(draw, shape, 3, 5)
    slots = torch.tensor([3, 0, 4])
    options = (None, None) if plain else (dt_bias, z)
    dt = dt.abs() if plain else dt - 6  # steps around 0.002: where a careless softplus loses its digits
    y_expected, _ = state_update_reference(xBC, dt, A, D, shape, states[slots], *options)
    held = states.to(triton_device, torch.float32)
    narrow = [part.to(triton_device, dtype) for part in (xBC, dt)]
    wide = [part.to(triton_device, torch.float32) for part in (A, D)]
    rest = [None if part is None else part.to(triton_device, torch.float32) for part in options]
    y = triton_state_update(*narrow, *wide, shape, held, *rest, slots.to(triton_device))
    tolerance = 1e-5 if dtype == torch.float32 else 4e-3  # bf16: the rounding of y itself
    assert (y.cpu().double() - y_expected).abs().max() <= tolerance * y_expected.abs().max()
    found = held.cpu().double()
    rounded = dt if dtype == torch.float32 else dt.bfloat16().double()
    _, exact = state_update_reference(xBC, rounded, A, D, shape, states[slots], *options)
    assert (found[slots] - exact).abs().max() <= 1e-5 * exact.abs().max()
    assert torch.equal(found[[1, 2]], states[[1, 2]])


def test_triton_refuses_states_that_lie_apart(triton_device: str, draw: Draw) -> None:
    from model.kernels.state_update_triton import triton_state_update

    xBC, dt, A, D, states, _, _ = (part.to(triton_device, torch.float32) for part in inputs_of(draw, SHAPES[0], 2, 2))
    with pytest.raises(ValueError, match="contiguous"):
        triton_state_update(xBC, dt, A, D, SHAPES[0], states.transpose(2, 3).contiguous().transpose(2, 3))
