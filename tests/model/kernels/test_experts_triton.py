"""The routed experts' Triton form: odd sizes, unused experts, every tile border, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.kernels.experts import routed_experts_reference
from model.kernels.experts_order import order_by_expert
from model.kernels.router import Routing

pytestmark = pytest.mark.usefixtures("nan_buffers")


def random_choice(tokens: int, experts: int, top_k: int) -> Tensor:
    draw = torch.Generator().manual_seed(5)
    return torch.rand(tokens, experts, generator=draw).argsort(-1)[:, :top_k].contiguous()


CHOICES = {
    "random": random_choice(11, 4, 2),
    "more rows than a tile": random_choice(40, 2, 2),
    "one token": torch.tensor([[3]]),
    "all to the same": torch.tensor([[2, 0]]).repeat(18, 1),
}


def forms(chosen: Tensor) -> tuple[Callable[..., Tensor], ...]:
    """The Triton form, the reference, and the experts as torch computes them in the dtype of their inputs."""
    from model.kernels.experts_triton import triton_routed_experts

    def narrow(x: Tensor, weights: Tensor, up: Tensor, down: Tensor) -> Tensor:
        y = torch.zeros_like(x)
        for e in range(len(up)):
            token, place = torch.where(chosen == e)
            out = torch.relu(x[token] @ up[e].t()).square() @ down[e]
            y = y.index_add(0, token, out * weights[token, place, None])
        return y

    return (
        lambda x, w, up, down: triton_routed_experts(x, chosen.to(x.device), w, up, down),
        lambda x, w, up, down: routed_experts_reference(x, Routing(chosen, w), up, down),
        narrow,
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("choice", CHOICES)
def test_equals_the_reference(
    triton_device: str, agree: Callable, draw: Callable, choice: str, dtype: torch.dtype
) -> None:
    chosen = CHOICES[choice]
    ours, reference, narrow = forms(chosen)
    leaves = [draw(len(chosen), 20), draw(*chosen.shape), draw(4, 18, 20), draw(4, 18, 20)]
    agree(ours, reference, leaves, dtype, triton_device, narrow)


def test_several_tiles_in_every_direction(triton_device: str, agree: Callable, draw: Callable) -> None:
    # wider than one block of columns (128) and of inner numbers (32 in fp32)
    chosen = random_choice(6, 2, 1)
    ours, reference, _ = forms(chosen)
    agree(ours, reference, [draw(6, 150), draw(6, 1), draw(2, 40, 150), draw(2, 40, 150)], torch.float32, triton_device)


def test_no_tokens(triton_device: str) -> None:
    from model.kernels.experts_triton import triton_routed_experts

    x = torch.zeros(0, 8, device=triton_device, requires_grad=True)
    weights = torch.zeros(0, 2, device=triton_device)
    up, down = (torch.ones(3, 4, 8, device=triton_device, requires_grad=True) for _ in range(2))
    y = triton_routed_experts(x, torch.zeros(0, 2, dtype=torch.int64, device=triton_device), weights, up, down)
    y.sum().backward()
    assert y.shape == (0, 8) and up.grad.abs().max() == 0 and down.grad.abs().max() == 0


def test_tiles_cover_each_expert_and_nothing_else() -> None:
    pytest.importorskip("triton")
    from model.kernels.experts_triton import _list_tiles

    # 3, 0, 5 and 1 rows in tiles of 2: two, none, three and one; the list has room for more
    order = order_by_expert(torch.tensor([[0, 0, 0, 2, 2, 2, 2, 2, 3]]), 4)
    tiles = _list_tiles(order, 2).tolist()
    assert [tile for tile in tiles if tile[1] < tile[2]] == [
        [0, 0, 3], [0, 2, 3], [2, 3, 8], [2, 5, 8], [2, 7, 8], [3, 8, 9],
    ]  # fmt: skip
