"""Routed experts: the sorted form against the specification."""

from __future__ import annotations

import pytest
import torch

from model.kernels.experts import relu_squared, routed_experts, routed_experts_reference
from model.kernels.router import Routing


def problem(tokens: int, experts: int, top_k: int, seed: int = 0) -> tuple[torch.Tensor, ...]:
    """x, weights, up, down, chosen experts."""
    draw = torch.Generator().manual_seed(seed)
    chosen = torch.rand(tokens, experts, generator=draw).argsort(-1)[:, :top_k]
    shapes = [(tokens, 6), (tokens, top_k), (experts, 5, 6), (experts, 5, 6)]
    return *(torch.randn(shape, generator=draw, dtype=torch.float64) for shape in shapes), chosen


def test_worked_by_hand() -> None:
    # expert 1 doubles, squares and negates: x = 3 -> -(6 * 6); weight 0.5 -> -18; negative inputs give 0
    up, down = torch.tensor([[[1.0]], [[2.0]]]), torch.tensor([[[1.0]], [[-1.0]]])
    routing = Routing(torch.tensor([[1], [1], [0]]), torch.tensor([[0.5], [0.5], [1.0]]))
    y = routed_experts(torch.tensor([[3.0], [-3.0], [3.0]]), routing, up, down)
    assert y.tolist() == [[-18.0], [0.0], [9.0]]


@pytest.mark.parametrize(("tokens", "experts", "top_k"), [(1, 1, 1), (7, 4, 2), (40, 8, 3), (3, 16, 2)])
def test_fast_equals_reference(tokens: int, experts: int, top_k: int) -> None:
    *parts, chosen = problem(tokens, experts, top_k)
    grads = []
    for form in (routed_experts, routed_experts_reference):
        x, weights, up, down = leaves = [part.clone().requires_grad_() for part in parts]
        y = form(x, Routing(chosen, weights), up, down)
        y.sin().sum().backward()
        grads.append([y.detach(), *(leaf.grad for leaf in leaves)])
    for ours, expected in zip(*grads, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_gradcheck() -> None:
    *parts, chosen = problem(5, 3, 2, seed=1)
    leaves = [part.requires_grad_() for part in parts]
    form = lambda x, w, up, down: routed_experts(x, Routing(chosen, w), up, down)  # noqa: E731
    assert torch.autograd.gradcheck(form, leaves)


def test_an_expert_without_tokens_gets_a_zero_gradient() -> None:
    *parts, _ = problem(4, 3, 1)
    x, weights, up, down = (part.requires_grad_() for part in parts)
    routed_experts(x, Routing(torch.tensor([[0], [2], [0], [2]]), weights), up, down).sum().backward()
    assert up.grad[1].abs().max() == 0 and down.grad[1].abs().max() == 0
    assert up.grad[0].abs().max() > 0


def test_relu_squared_gradcheck() -> None:
    x = torch.tensor([-2.0, -0.5, 0.5, 3.0], dtype=torch.float64, requires_grad=True)
    assert relu_squared(x).tolist() == [0, 0, 0.25, 9]
    assert torch.autograd.gradcheck(relu_squared, (x,))
