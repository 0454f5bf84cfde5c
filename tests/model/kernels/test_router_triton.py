"""The router's Triton form: the very experts of the CPU form, its weights and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from model.kernels.router import route_logits

pytestmark = pytest.mark.usefixtures("nan_buffers")


def problem(draw: Callable, tokens: int, experts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits with a row of ties, and a bias as large as released ones."""
    logits = draw(tokens, experts).float()
    logits[-1] = 0.5
    return logits, 64 + 0.1 * draw(experts).float()


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize(("tokens", "experts", "top_k"), [(1, 5, 5), (7, 6, 2), (4, 16, 3), (3, 1, 1)])
def test_equals_the_cpu_form(
    triton_device: str, draw: Callable, tokens: int, experts: int, top_k: int, normalise: bool
) -> None:
    from model.kernels.router_triton import triton_route

    logits, bias = problem(draw, tokens, experts)
    centred = (bias - bias.mean()).to(triton_device)
    for recorded in (None, torch.arange(tokens * top_k).view(tokens, top_k) % (experts + 1) - 1):
        ours, expected = logits.clone().to(triton_device).requires_grad_(), logits.clone().requires_grad_()
        record = None if recorded is None else recorded.to(triton_device, torch.int16)
        found = triton_route(ours, centred, top_k, 2.5, normalise, record)
        routing = route_logits(expected, bias, top_k, 2.5, normalise, recorded=recorded)
        assert torch.equal(found[0].cpu(), routing.experts)
        torch.testing.assert_close(found[1].cpu(), routing.weights, rtol=1e-5, atol=1e-7)
        slope = draw(tokens, top_k).float()
        (found[1] * slope.to(triton_device)).sum().backward()
        (routing.weights * slope).sum().backward()
        torch.testing.assert_close(ours.grad.cpu(), expected.grad, rtol=1e-5, atol=1e-7)


def test_not_a_number_comes_last(triton_device: str) -> None:
    from model.kernels.router_triton import triton_route

    nan = float("nan")
    logits = torch.tensor([[nan, 1.0, 2.0], [nan, nan, nan], [1.0, nan, nan]], device=triton_device)
    experts, weights = triton_route(logits, torch.zeros(3, device=triton_device), 2, 1.0, False, None)
    assert experts.tolist() == [[2, 1], [0, 1], [0, 1]]
    assert weights[1].isnan().all() and torch.isfinite(weights[0]).all()


def test_no_tokens(triton_device: str) -> None:
    from model.kernels.router_triton import triton_route

    logits = torch.zeros(0, 4, device=triton_device, requires_grad=True)
    experts, weights = triton_route(logits, torch.zeros(4, device=triton_device), 2, 1.0, True, None)
    weights.sum().backward()
    assert experts.shape == weights.shape == (0, 2) and logits.grad.shape == (0, 4)
