"""Causal convolution over packed sequences: borders, states, gradients."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from model.kernels.conv import causal_conv, causal_conv_final_state, causal_conv_reference, causal_conv_step
from model.layout import PackedLayout

LENGTHS = [[1], [2, 1, 5], [7, 3, 1, 1, 4], [3, 3]]


def layout_of(lengths: list[int], width: int = 4) -> PackedLayout:
    return PackedLayout(torch.tensor([0, *lengths]).cumsum(0), chunk_size=4, conv_kernel=width)


def inputs_of(lengths: list[int], width: int = 4, channels: int = 3) -> list[torch.Tensor]:
    """x, weight, bias, state."""
    draw = torch.Generator().manual_seed(1)
    shapes = [(sum(lengths), channels), (width, channels), (channels,), (len(lengths), width - 1, channels)]
    return [torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes]


def test_worked_by_hand() -> None:
    # taps 1, 10, 100, 1000 on x_{t-3}, x_{t-2}, x_{t-1}, x_t; sequences [1, 2] and [3]
    x = torch.tensor([[1.0], [2.0], [3.0]])
    taps = torch.tensor([[1.0], [10.0], [100.0], [1000.0]])
    y = causal_conv(x, taps, torch.zeros(1), layout_of([2, 1]))
    assert torch.equal(y, F.silu(torch.tensor([[1000.0], [2100.0], [3000.0]])))


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("width", [2, 4])
def test_fast_equals_reference(lengths: list[int], with_state: bool, width: int) -> None:
    x, weight, bias, state = inputs_of(lengths, width)
    grads = []
    for form in (causal_conv, causal_conv_reference):
        leaves = [part.clone().requires_grad_() for part in (x, weight, bias)]
        y = form(*leaves, layout_of(lengths, width), state if with_state else None)
        y.sin().sum().backward()
        grads.append([y.detach(), *(leaf.grad for leaf in leaves)])
    for ours, expected in zip(*grads, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_gradcheck() -> None:
    lengths = [3, 1, 5]
    x, weight, bias, state = inputs_of(lengths)
    layout = layout_of(lengths)
    leaves = [part.requires_grad_() for part in (x, weight, bias)]
    assert torch.autograd.gradcheck(lambda *parts: causal_conv(*parts, layout, state), leaves)


def test_gradient_reaches_the_initial_state() -> None:
    lengths = [2, 4]
    leaves = [part.requires_grad_() for part in inputs_of(lengths)]
    layout = layout_of(lengths)
    assert torch.autograd.gradcheck(lambda x, w, b, s: causal_conv(x, w, b, layout, s), leaves)


@pytest.mark.parametrize("lengths", LENGTHS)
def test_steps_and_carried_states_equal_the_whole(lengths: list[int]) -> None:
    x, weight, bias, state = inputs_of(lengths)
    layout = layout_of(lengths)
    whole = causal_conv(x, weight, bias, layout, state)
    final = causal_conv_final_state(x, layout, state)
    for b, (start, length) in enumerate(zip(layout.starts.tolist(), lengths, strict=True)):
        carried = state[b : b + 1].clone()
        for t in range(start, start + length):
            y = causal_conv_step(x[t : t + 1], carried, weight, bias)
            torch.testing.assert_close(y[0], whole[t], rtol=0, atol=1e-12)
        assert torch.equal(carried[0], final[b])


def test_final_state_without_a_start_is_zero_padded() -> None:
    x = torch.tensor([[1.0], [2.0], [3.0], [4.0], [5.0]])
    final = causal_conv_final_state(x, layout_of([1, 4]))
    assert final[..., 0].tolist() == [[0, 0, 1], [3, 4, 5]]


def test_a_broken_sequence_does_not_reach_its_neighbours() -> None:
    lengths = [4, 2, 4]
    x, weight, bias, _ = inputs_of(lengths)
    clean = causal_conv(x, weight, bias, layout_of(lengths))
    x[4:6] = float("nan")
    y = causal_conv(x, weight, bias, layout_of(lengths))
    assert torch.equal(y[:4], clean[:4]) and torch.equal(y[6:], clean[6:])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_packed_equals_separate(dtype: torch.dtype, tolerance: float) -> None:
    lengths = [5, 1, 9, 3]
    x, weight, bias, state = inputs_of(lengths)

    def run(of: list[int], rows: torch.Tensor, before: torch.Tensor) -> list[torch.Tensor]:
        leaves = [part.detach().clone().to(dtype).requires_grad_() for part in (rows, weight, bias, before)]
        y = causal_conv(*leaves[:3], layout_of(of), leaves[3])
        (y.square().sum() / 2).backward()
        return [y.detach(), *(leaf.grad for leaf in leaves)]

    packed = run(lengths, x, state)
    alone = [run([n], *parts) for n, *parts in zip(lengths, x.split(lengths), state.split(1), strict=True)]
    for number, got in enumerate(packed):
        parts = [one[number] for one in alone]
        # Taps and bias are shared: their gradients add up.
        want = sum(parts) if number in (2, 3) else torch.cat(parts)
        assert (got - want).abs().max() <= tolerance * max(1.0, want.abs().max().item()), number


def test_gradients_pass_through_a_carried_state() -> None:
    x, weight, bias, state = inputs_of([7])
    for cut in (1, 2, 5):
        grads = []
        for pieces in ([7], [cut, 7 - cut]):
            leaves = [part.clone().requires_grad_() for part in (x, weight, bias, state)]
            outputs, carried = [], leaves[3]
            for rows in leaves[0].split(pieces):
                outputs.append(causal_conv(rows, *leaves[1:3], layout_of([len(rows)]), carried))
                carried = causal_conv_final_state(rows, layout_of([len(rows)]), carried)
            (torch.cat(outputs).sin().sum() + carried.cos().sum()).backward()
            grads.append([leaf.grad for leaf in leaves])
        for ours, expected in zip(*grads, strict=True):
            torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_a_step_goes_to_the_slots_named() -> None:
    draw = torch.Generator().manual_seed(1)
    _, weight, bias, states = inputs_of([1, 1, 1, 1])
    x, slots = torch.randn(2, 3, generator=draw, dtype=torch.float64), torch.tensor([3, 1])
    picked, held = states[slots], states.clone()
    expected = causal_conv_step(x, picked, weight, bias)
    assert torch.equal(causal_conv_step(x, held, weight, bias, slots), expected)
    assert torch.equal(held[slots], picked) and torch.equal(held[[0, 2]], states[[0, 2]])
