"""Products with a weight, on both sides of the size where the library changes."""

from __future__ import annotations

import pytest
import torch

from model.kernels import linear as kernel
from model.kernels.linear import linear, linear_add, linear_reference

# tokens, in, out: below and above the threshold, square and not
SIZES = [(3, 4, 5), (1, 64, 320), (512, 64, 162), (512, 162, 64), (2048, 64, 64)]


@pytest.mark.parametrize(("tokens", "size_in", "size_out"), SIZES)
@pytest.mark.parametrize("with_residual", [False, True])
def test_fast_equals_reference(tokens: int, size_in: int, size_out: int, with_residual: bool) -> None:
    parts = [torch.randn(shape) for shape in ((tokens, size_in), (size_out, size_in), (tokens, size_out))]
    slope = torch.randn(tokens, size_out)
    results = []
    for dtype in (torch.float32, torch.float64):
        x, weight, residual = leaves = [part.detach().to(dtype).requires_grad_() for part in parts]
        if dtype == torch.float64:
            y = linear_reference(x, weight, residual if with_residual else None)
        else:
            y = linear_add(residual, x, weight) if with_residual else linear(x, weight)
        (y * slope.to(dtype)).sum().backward()
        results.append([y.detach(), *(leaf.grad for leaf in leaves if leaf.grad is not None)])
    assert len(results[0]) == 3 + with_residual
    for ours, expected in zip(*results, strict=True):
        assert (ours - expected).abs().max() <= 2e-6 * expected.abs().max()


def test_strided_operands_above_the_threshold() -> None:
    wide, weight = torch.randn(2048, 100), torch.randn(64, 128)
    x, part = wide[:, 20:84], weight[:, 32:96]
    torch.testing.assert_close(linear(x, part), linear_reference(x, part), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("has_onednn", [False, True])
def test_no_gradient_is_computed_for_what_is_frozen(monkeypatch: pytest.MonkeyPatch, has_onednn: bool) -> None:
    monkeypatch.setattr(kernel, "_HAS_ONEDNN", has_onednn and kernel._HAS_ONEDNN)
    x, weight = torch.randn(600, 64, requires_grad=True), torch.randn(64, 64)
    linear(x, weight).sum().backward()
    torch.testing.assert_close(x.grad, weight.sum(0).expand(600, 64), rtol=1e-5, atol=1e-4)
    assert weight.grad is None


def test_gradcheck() -> None:
    leaves = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 4), (5, 4), (3, 5))]
    assert torch.autograd.gradcheck(lambda x, w, r: linear_add(r, x, w), leaves)
    assert torch.autograd.gradcheck(linear, leaves[:2])
