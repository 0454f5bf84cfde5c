"""Chunked scan against the token-by-token recurrence: outputs, states, gradients, and the extremes of the decay."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.kernels.ssd import ssd, ssd_reference, ssd_step
from model.kernels.ssd_shape import SSDShape
from model.layout import PackedLayout

SHAPES = [SSDShape(2, 3, 1, 4), SSDShape(4, 2, 2, 3), SSDShape(3, 2, 3, 2)]
Inputs = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]


def layout_of(lengths: list[int], chunk_size: int) -> PackedLayout:
    return PackedLayout(torch.tensor([0, *lengths]).cumsum(0), chunk_size, conv_kernel=4)


def inputs_of(shape: SSDShape, lengths: list[int], dtype: torch.dtype = torch.float64, seed: int = 0) -> Inputs:
    """xBC, dt, A, D, initial states."""
    draw = torch.Generator().manual_seed(seed)
    total = sum(lengths)
    xBC = torch.randn(total, shape.inner + 2 * shape.num_groups * shape.state_size, generator=draw, dtype=dtype)
    dt = torch.rand(total, shape.num_heads, generator=draw, dtype=dtype)
    A = -torch.rand(shape.num_heads, generator=draw, dtype=dtype) * 2
    D = torch.randn(shape.num_heads, generator=draw, dtype=dtype)
    states = torch.randn(shape.states(len(lengths)), generator=draw, dtype=dtype)
    return xBC, dt, A, D, states


@pytest.mark.parametrize("chunk_size", [1, 4, 7, 16, 32])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("with_state", [False, True])
def test_chunked_equals_recurrence(shape: SSDShape, chunk_size: int, with_state: bool) -> None:
    lengths = [5, 1, 17, 16, 8]
    layout = layout_of(lengths, chunk_size)
    xBC, dt, A, D, states = inputs_of(shape, lengths)
    initial = states if with_state else None
    y, final = ssd(xBC, dt, A, D, shape, layout, initial)
    y_expected, final_expected = ssd_reference(xBC, dt, A, D, shape, layout, initial)
    torch.testing.assert_close(y, y_expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(final, final_expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("chunk_size", [3, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_gradients_equal_those_of_the_recurrence(shape: SSDShape, chunk_size: int) -> None:
    lengths = [9, 2, 5, 8]
    layout = layout_of(lengths, chunk_size)
    inputs = inputs_of(shape, lengths)
    grads = []
    for form in (ssd, ssd_reference):
        leaves = [part.clone().requires_grad_() for part in inputs]
        y, final = form(*leaves[:4], shape, layout, leaves[4])
        (y.sin().sum() + final.cos().sum()).backward()
        grads.append([leaf.grad for leaf in leaves])
    for ours, expected in zip(*grads, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("shape", SHAPES[:2])
def test_gradcheck(shape: SSDShape) -> None:
    lengths = [4, 1, 3]
    layout = layout_of(lengths, chunk_size=2)
    leaves = [part.requires_grad_() for part in inputs_of(shape, lengths)]
    assert torch.autograd.gradcheck(lambda *parts: ssd(*parts[:4], shape, layout, parts[4]), leaves)


def test_gradient_of_the_final_state_alone() -> None:
    shape, lengths = SHAPES[0], [3, 5]
    layout = layout_of(lengths, chunk_size=2)
    leaves = [part.requires_grad_() for part in inputs_of(shape, lengths)]
    assert torch.autograd.gradcheck(lambda *parts: ssd(*parts[:4], shape, layout, parts[4])[1], leaves)


def test_fp32_gradients_stay_close_to_fp64() -> None:
    shape, lengths = SSDShape(2, 32, 1, 16), [150, 64, 33]
    layout = layout_of(lengths, chunk_size=32)
    inputs = inputs_of(shape, lengths)
    grads = []
    for dtype in (torch.float32, torch.float64):
        leaves = [part.detach().clone().to(dtype).requires_grad_() for part in inputs[:4]]
        y, _ = ssd(*leaves, shape, layout)
        y.square().mean().backward()
        grads.append([leaf.grad.double() for leaf in leaves])
    for narrow, wide in zip(*grads, strict=True):
        assert (narrow - wide).abs().max() <= 1e-5 * wide.abs().max()


def test_step_by_step_equals_recurrence() -> None:
    shape, lengths = SHAPES[1], [6, 6, 6]
    layout = layout_of(lengths, chunk_size=4)
    xBC, dt, A, D, states = inputs_of(shape, lengths)
    expected, final = ssd_reference(xBC, dt, A, D, shape, layout, states)
    state = states.clone()
    for t in range(6):
        rows = torch.arange(3) * 6 + t
        y = ssd_step(xBC[rows], dt[rows], A, D, shape, state)
        torch.testing.assert_close(y, expected[rows], rtol=0, atol=1e-12)
    torch.testing.assert_close(state, final, rtol=0, atol=1e-12)


def test_a_scan_cut_anywhere_carries_its_state() -> None:
    shape, length = SHAPES[0], 23
    xBC, dt, A, D, _ = inputs_of(shape, [length])
    whole, final = ssd(xBC, dt, A, D, shape, layout_of([length], 8))
    for cut in (1, 7, 8, 9, 22):
        left, state = ssd(xBC[:cut], dt[:cut], A, D, shape, layout_of([cut], 8))
        right, end = ssd(xBC[cut:], dt[cut:], A, D, shape, layout_of([length - cut], 8), state)
        torch.testing.assert_close(torch.cat((left, right)), whole, rtol=0, atol=1e-12)
        torch.testing.assert_close(end, final, rtol=0, atol=1e-12)


def test_strong_decay_gives_exact_zeros_and_no_nan() -> None:
    shape, lengths = SSDShape(2, 3, 1, 4), [40, 3]
    layout = layout_of(lengths, chunk_size=16)
    xBC, dt, _, D, _ = inputs_of(shape, lengths, torch.float32)
    leaves = [part.requires_grad_() for part in (xBC, dt + 50, torch.tensor([-16.0, -16.0]), D)]
    y, final = ssd(*leaves, shape, layout)
    (y.sum() + final.sum()).backward()
    # Every older token is gone: the output is that of a sequence of one token.
    _, _, c = shape.split(xBC)
    x, b, _ = shape.split(xBC)
    u = x.view(-1, 2, 3) * (dt + 50)[..., None]
    alone = (c * b).sum(-1)[..., None] * u + x.view(-1, 2, 3) * D[:, None]
    torch.testing.assert_close(y, alone.flatten(1), rtol=1e-5, atol=1e-4)
    assert torch.isfinite(y).all() and torch.isfinite(final).all()
    assert all(torch.isfinite(leaf.grad).all() for leaf in leaves)


def test_no_decay_is_a_plain_sum() -> None:
    # A = 0, dt = 1, B = C = 1: the output is the running sum of x.
    shape = SSDShape(1, 1, 1, 1)
    x = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0])
    xBC = torch.stack((x, torch.ones(5), torch.ones(5)), 1)
    layout = layout_of([3, 2], chunk_size=2)
    y, final = ssd(xBC, torch.ones(5, 1), torch.zeros(1), torch.zeros(1), shape, layout)
    assert y.flatten().tolist() == [1, 3, 6, 4, 9]
    assert final.flatten().tolist() == [6, 9]


def test_a_broken_sequence_does_not_reach_its_neighbours() -> None:
    shape, lengths = SHAPES[0], [5, 6, 7]
    layout = layout_of(lengths, chunk_size=4)
    xBC, dt, A, D, _ = inputs_of(shape, lengths)
    clean, final = ssd(xBC, dt, A, D, shape, layout)
    xBC[5:11] = float("nan")
    y, end = ssd(xBC, dt, A, D, shape, layout)
    assert torch.equal(y[:5], clean[:5]) and torch.equal(y[11:], clean[11:])
    assert torch.equal(end[[0, 2]], final[[0, 2]])
    assert y[5:11].isnan().all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_packed_equals_separate(dtype: torch.dtype, tolerance: float) -> None:
    shape, lengths = SSDShape(4, 8, 2, 8), [13, 1, 30, 8]
    xBC, dt, A, D, states = inputs_of(shape, lengths)
    xBC /= 8  # keeps every number near one, so that the tolerance is one of the arithmetic

    def run(of: list[int], stream: Tensor, steps: Tensor, initial: Tensor) -> list[Tensor]:
        leaves = [part.detach().clone().to(dtype).requires_grad_() for part in (stream, steps, A, D, initial)]
        y, final = ssd(*leaves[:4], shape, layout_of(of, 8), leaves[4])
        (y.square().sum() / 2 + final.square().sum() / 2).backward()
        return [y.detach(), final.detach(), *(leaf.grad for leaf in leaves)]

    packed = run(lengths, xBC, dt, states)
    alone = [
        run([n], *parts)
        for n, *parts in zip(lengths, xBC.split(lengths), dt.split(lengths), states.split(1), strict=True)
    ]
    for number, got in enumerate(packed):
        parts = [one[number] for one in alone]
        # A and D are shared: their gradients add up.
        want = sum(parts) if number in (4, 5) else torch.cat(parts)
        assert (got - want).abs().max() <= tolerance * max(1.0, want.abs().max().item()), number


@pytest.mark.parametrize("at_once", [1, 200])
def test_groups_may_go_one_by_one(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    shape, lengths = SSDShape(8, 2, 4, 3), [9, 2, 5]
    inputs, results = inputs_of(shape, lengths), []
    for limit in (at_once, 1 << 20):
        monkeypatch.setattr("model.kernels.ssd_chunked._AT_ONCE", limit)
        leaves = [part.clone().requires_grad_() for part in inputs]
        y, final = ssd(*leaves[:4], shape, layout_of(lengths, 4), leaves[4])
        (y.sin().sum() + final.cos().sum()).backward()
        results.append([y.detach(), final.detach(), *(leaf.grad for leaf in leaves)])
    for sliced, whole in zip(*results, strict=True):
        torch.testing.assert_close(sliced, whole, rtol=0, atol=1e-12)


def test_gradients_pass_through_a_carried_state() -> None:
    shape, length, cut = SHAPES[1], 11, 6
    inputs = inputs_of(shape, [length])

    def whole(*parts: Tensor) -> tuple[Tensor, Tensor]:
        return ssd(*parts[:4], shape, layout_of([length], 4), parts[4])

    def carried(xBC: Tensor, dt: Tensor, A: Tensor, D: Tensor, states: Tensor) -> tuple[Tensor, Tensor]:
        left, state = ssd(xBC[:cut], dt[:cut], A, D, shape, layout_of([cut], 4), states)
        right, final = ssd(xBC[cut:], dt[cut:], A, D, shape, layout_of([length - cut], 4), state)
        return torch.cat((left, right)), final

    grads = []
    for form in (whole, carried):
        leaves = [part.clone().requires_grad_() for part in inputs]
        y, final = form(*leaves)
        (y.sin().sum() + final.cos().sum()).backward()
        grads.append([leaf.grad for leaf in leaves])
    for ours, expected in zip(*grads, strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=1e-12)


def test_one_map_serves_inference_and_training() -> None:
    shape, lengths = SSDShape(1, 2, 1, 2), [41]
    inputs = inputs_of(shape, lengths)
    with torch.inference_mode():
        before, _ = ssd(*inputs[:4], shape, layout_of(lengths, 41))
    leaves = [part.clone().requires_grad_() for part in inputs[:4]]
    y, _ = ssd(*leaves, shape, layout_of(lengths, 41))
    y.sum().backward()
    assert torch.equal(y, before)
