"""Sorting pairs by expert: a permutation, stable, with the right borders, for few experts and for many."""

from __future__ import annotations

import pytest
import torch

from model.kernels.experts_order import order_by_expert


def test_worked_by_hand() -> None:
    # pairs 0..5 go to experts 2 0 | 0 3 | 2 0
    order = order_by_expert(torch.tensor([[2, 0], [0, 3], [2, 0]]), 5)
    assert order.pair.tolist() == [1, 2, 5, 0, 4, 3]
    assert order.token.tolist() == [0, 1, 2, 0, 2, 1]
    assert order.row.tolist() == [[3, 0], [1, 5], [4, 2]]
    assert order.ends.tolist() == [3, 3, 5, 6, 6]


@pytest.mark.parametrize("num_experts", [1, 200, 300, 40000])
def test_every_pair_has_one_place(num_experts: int) -> None:
    experts = torch.randint(num_experts, (50, 3), generator=torch.Generator().manual_seed(0))
    order = order_by_expert(experts, num_experts)
    flat = experts.flatten()
    assert torch.equal(order.pair, flat.argsort(stable=True))
    assert torch.equal(order.pair[order.row.flatten()], torch.arange(150))
    assert torch.equal(order.ends, torch.bincount(flat, minlength=num_experts).cumsum(0))


def test_no_tokens() -> None:
    order = order_by_expert(torch.zeros(0, 2, dtype=torch.int64), 3)
    assert order.pair.shape == (0,) and order.row.shape == (0, 2) and order.ends.tolist() == [0, 0, 0]
