"""Routed experts: every CPU form against the specification, at the sizes where one hands over to the next."""

from __future__ import annotations

import pytest
import torch

from model.kernels import experts_cpu
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


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-6)])
def test_packed_equals_separate(dtype: torch.dtype, tolerance: float) -> None:
    *parts, chosen = problem(25, 4, 2)
    lengths = [6, 1, 13, 5]

    def run(x: torch.Tensor, weights: torch.Tensor, chosen: torch.Tensor) -> list[torch.Tensor]:
        leaves = [part.to(dtype).clone().requires_grad_() for part in (x, weights, *parts[2:])]
        y = routed_experts(leaves[0], Routing(chosen, leaves[1]), *leaves[2:])
        (y.square().sum() / 1000).backward()
        return [y.detach(), *(leaf.grad for leaf in leaves)]

    packed = run(*parts[:2], chosen)
    alone = [run(*rows) for rows in zip(*(part.split(lengths) for part in (*parts[:2], chosen)), strict=True)]
    joined = [*map(torch.cat, list(zip(*alone, strict=True))[:3]), *map(sum, list(zip(*alone, strict=True))[3:])]
    for got, want in zip(packed, joined, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


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


FORMS = [experts_cpu._AllExperts, experts_cpu._AllAtOnce, experts_cpu._ExpertByExpert]
CHOICES = {
    "random": lambda: torch.rand(24, 4).argsort(-1)[:, :2].contiguous(),
    "one token": lambda: torch.tensor([[3, 0]]),
    "all to the same": lambda: torch.tensor([[1, 2]]).repeat(24, 1),
    "first and last unused": lambda: torch.tensor([[1, 2], [2, 1]]).repeat(5, 1),
    "one expert twice": lambda: torch.tensor([[0, 0], [3, 3], [1, 2]]),
    "no tokens": lambda: torch.zeros(0, 2, dtype=torch.int64),
}


def forms_of(dtype: torch.dtype) -> list[type]:
    """torch's grouped product has no fp64."""
    return [form for form in FORMS if form is not experts_cpu._AllAtOnce or dtype != torch.float64]


@pytest.mark.usefixtures("nan_buffers")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("choice", CHOICES)
def test_each_form_equals_the_reference(choice: str, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(2)
    chosen = CHOICES[choice]()
    shapes = [(len(chosen), 8), (len(chosen), 2), (4, 12, 8), (4, 12, 8)]
    parts = [torch.randn(shape, generator=draw, dtype=torch.float64).to(dtype) for shape in shapes]
    slope = torch.randn(len(chosen), 8, generator=draw, dtype=torch.float64).to(dtype)

    def evaluate(form: object) -> list[torch.Tensor]:
        leaves = [part.clone().requires_grad_() for part in parts]
        y = form(*leaves)
        (y * slope).sum().backward()
        return [y.detach(), *(leaf.grad for leaf in leaves)]

    expected = evaluate(lambda x, w, up, down: routed_experts_reference(x, Routing(chosen, w), up, down))
    bound = 1e-12 if dtype == torch.float64 else 1e-5
    for form in forms_of(dtype):
        found = evaluate(lambda x, w, up, down, form=form: form.apply(x, w, up, down, chosen))
        for ours, wanted in zip(found, expected, strict=True):
            assert torch.isfinite(ours).all(), form
            torch.testing.assert_close(ours, wanted, rtol=bound, atol=bound * 100)


@pytest.mark.parametrize("form", [experts_cpu._AllExperts, experts_cpu._ExpertByExpert])
def test_gradcheck_of_each_form(form: type) -> None:
    *parts, chosen = problem(6, 3, 2, seed=4)
    leaves = [part.requires_grad_() for part in parts]
    assert torch.autograd.gradcheck(lambda x, w, up, down: form.apply(x, w, up, down, chosen), leaves)


@pytest.mark.parametrize(
    ("tokens", "experts", "size", "form"),
    [
        (4, 8, 64, experts_cpu._AllExperts),
        (1024, 8, 64, experts_cpu._AllAtOnce),
        (8192, 8, 64, experts_cpu._ExpertByExpert),
        (1024, 8, 66, experts_cpu._ExpertByExpert),  # rows of 264 bytes: not whole sixteens
    ],
)
def test_the_form_follows_the_sizes(tokens: int, experts: int, size: int, form: type) -> None:
    chosen = torch.zeros(tokens, 2, dtype=torch.int64)
    assert experts_cpu._form_for(chosen, torch.empty(experts, 32, size)) is form


def test_bf16_is_no_worse_than_products_in_bf16(agree: object, draw: object) -> None:
    chosen = torch.rand(12, 4, generator=torch.Generator().manual_seed(1)).argsort(-1)[:, :2].contiguous()
    leaves = [draw(12, 16), draw(12, 2), draw(4, 8, 16), draw(4, 8, 16)]
    for form in FORMS:
        agree(
            lambda x, w, up, down, form=form: form.apply(x, w, up, down, chosen),
            lambda x, w, up, down: routed_experts_reference(x, Routing(chosen, w), up, down),
            leaves,
            torch.bfloat16,
            narrow=lambda x, w, up, down: where_by_where(x, chosen, w, up, down),
        )


def where_by_where(
    x: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor, up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    """As torch computes it in the dtype of its inputs."""
    y = torch.zeros_like(x)
    for e in range(len(up)):
        token, place = torch.where(chosen == e)
        y = y.index_add(0, token, torch.relu(x[token] @ up[e].t()).square() @ down[e] * weights[token, place, None])
    return y


def test_frozen_experts_get_no_gradient() -> None:
    for tokens in (4, 300):
        *parts, chosen = problem(tokens, 4, 2)
        x, weights, up, down = parts
        x.requires_grad_()
        routed_experts(x, Routing(chosen, weights), up, down).sum().backward()
        assert x.grad is not None and up.grad is None and down.grad is None
