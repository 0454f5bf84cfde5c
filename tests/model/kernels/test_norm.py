"""Root-mean-square norms against their specification, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F

from model.kernels.norm import (
    add_rms_norm,
    add_rms_norm_reference,
    gated_rms_norm,
    gated_rms_norm_reference,
    rms_norm,
    rms_norm_reference,
)

pytestmark = pytest.mark.usefixtures("form")

EPS = 1e-5


def test_worked_by_hand() -> None:
    # mean of squares of (3, 4) is 12.5
    y = rms_norm(torch.tensor([[3.0, 4.0]], dtype=torch.float64), torch.tensor([1.0, 2.0]).double(), 0.0)
    torch.testing.assert_close(y, torch.tensor([[3.0, 8.0]]).double() / 12.5**0.5)


@pytest.mark.parametrize("size", [1, 7, 64])
def test_rms_norm_gradcheck_and_reference(size: int) -> None:
    x = torch.randn(5, size, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(size, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(rms_norm(x, weight, EPS), rms_norm_reference(x, weight, EPS))
    assert torch.autograd.gradcheck(lambda x, w: rms_norm(x, w, EPS), (x, weight))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_packed_equals_separate(dtype: torch.dtype, tolerance: float) -> None:
    lengths, inputs = [6, 1, 13, 5], torch.randn(2, 25, 8, dtype=dtype)
    weight = torch.randn(8, dtype=dtype)
    kinds = (lambda y, z, w: rms_norm(y, w, EPS) + z, lambda y, z, w: gated_rms_norm(y, z, w, EPS, 2))

    for kind in kinds:

        def run(rows: torch.Tensor, kind: Callable[..., torch.Tensor] = kind) -> list[torch.Tensor]:
            leaves = [part.clone().requires_grad_() for part in (*rows, weight)]
            out = kind(*leaves)
            (out.square().sum() / 100).backward()
            return [out.detach(), *(leaf.grad for leaf in leaves)]

        packed, alone = run(inputs), list(zip(*map(run, inputs.split(lengths, 1)), strict=True))
        for got, want in zip(packed, [*map(torch.cat, alone[:3]), sum(alone[3])], strict=True):
            torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_gated_norm_gradcheck_and_reference(groups: int) -> None:
    y, z = (torch.randn(3, 8, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight = torch.randn(8, dtype=torch.float64, requires_grad=True)
    expected = gated_rms_norm_reference(y, z, weight, EPS, groups)
    torch.testing.assert_close(gated_rms_norm(y, z, weight, EPS, groups), expected)
    assert torch.autograd.gradcheck(lambda y, z, w: gated_rms_norm(y, z, w, EPS, groups), (y, z, weight))


def test_gate_comes_before_the_norm() -> None:
    y, z = torch.randn(2, 6), torch.randn(2, 6)
    expected = F.rms_norm((y * F.silu(z)).view(2, 2, 3), (3,), eps=EPS).view(2, 6)
    torch.testing.assert_close(gated_rms_norm(y, z, torch.ones(6), EPS, 2), expected)


def test_bf16_is_computed_in_fp32() -> None:
    x, weight = torch.randn(4, 64).bfloat16(), torch.randn(64).bfloat16()
    expected = rms_norm_reference(x.double(), weight.double(), EPS).bfloat16()
    assert torch.equal(rms_norm(x, weight, EPS), rms_norm_reference(x, weight, EPS))
    # one rounding, at the end
    assert (rms_norm(x, weight, EPS) != expected).float().mean() < 0.01


def test_zero_rows_stay_finite() -> None:
    x = torch.zeros(2, 8, requires_grad=True)
    y = rms_norm(x, torch.ones(8), EPS)
    y.sum().backward()
    assert y.abs().max() == 0 and torch.isfinite(x.grad).all()


def test_norm_with_residual_is_the_sum_and_its_norm() -> None:
    x, residual = (torch.randn(3, 6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    weight = torch.randn(6, dtype=torch.float64, requires_grad=True)
    y, total = add_rms_norm(x, residual, weight, EPS)
    assert torch.equal(total, x + residual)
    assert torch.equal(y, rms_norm(total, weight, EPS))
    torch.testing.assert_close(y, add_rms_norm_reference(x, residual, weight, EPS)[0])
    assert torch.autograd.gradcheck(lambda x, r, w: add_rms_norm(x, r, w, EPS), (x, residual, weight))


def test_a_wide_residual_stays_wide() -> None:
    x, residual, weight = torch.randn(2, 8).bfloat16(), torch.randn(2, 8), torch.ones(8)
    y, total = add_rms_norm(x, residual, weight, EPS)
    assert y.dtype == torch.bfloat16 and total.dtype == torch.float32
    assert torch.equal(total, residual + x.float())


def test_a_frozen_weight_gets_no_gradient() -> None:
    y, z = torch.randn(3, 8, requires_grad=True), torch.randn(3, 8)
    weight = torch.ones(8)
    (rms_norm(y, weight, EPS) + gated_rms_norm(y, z, weight, EPS, 2)).sum().backward()
    assert y.grad is not None and weight.grad is None
