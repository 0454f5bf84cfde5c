"""The compiled mixture of experts: who is chosen, what is recorded, which experts are replayed."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from model.kernels.native.moe import moe_layer
from model.kernels.router import choose_reference
from model.layers import native
from model.layers.moe import MoEMixer


def parts(make: Any, dtype: torch.dtype = torch.float64, **overrides: Any) -> tuple[Any, ...]:
    block, config = make("E", dtype, **overrides)
    assert isinstance(block.mixer, MoEMixer)
    return native.moe_weights(block.norm, block.mixer), native.moe_rule(block.mixer, block.eps), block, config


@pytest.mark.parametrize("top_k", [1, 2, 8])
def test_ties_go_to_the_lower_index(top_k: int, layer: Any) -> None:
    weights, rule, _, config = parts(layer, num_experts_per_tok=top_k)
    weights.gate.data[4] = weights.gate.data[1]  # experts 1 and 4 always score alike
    rule.bias[4] = rule.bias[1]
    x = torch.randn(200, config.hidden_size, dtype=torch.float64)
    _, experts = moe_layer(x, weights, rule)
    scores = torch.sigmoid(_normed(x, weights.norm, rule.eps) @ weights.gate.t())
    assert torch.equal(experts, choose_reference(scores.detach(), rule.bias, top_k))
    assert (experts == 1).any()


def test_what_is_not_a_number_comes_after_every_other(layer: Any) -> None:
    weights, rule, _, config = parts(layer, num_experts_per_tok=7)
    weights.gate.data[2] = float("nan")
    _, experts = moe_layer(torch.randn(20, config.hidden_size, dtype=torch.float64), weights, rule)
    assert not (experts == 2).any() and all(len(set(row)) == 7 for row in experts.tolist())


def test_a_record_is_replayed_where_there_is_one(layer: Any, outcome: Any, agree: Any, layout_of: Any) -> None:
    weights, rule, block, config = parts(layer)
    x = torch.randn(12, config.hidden_size, dtype=torch.float64)
    recorded = torch.tensor([[5, 0], [7, 7], [-1, 3]]).repeat(4, 1)  # an expert named twice; no record
    _, live = moe_layer(x, weights, rule)
    block.mixer.control.replayed = recorded
    layout = layout_of([12], config)
    ours = outcome(block, x, layout, compiled=True)
    agree(ours, outcome(block, x, layout, compiled=False), 1e-12)
    chosen: list[torch.Tensor] = []
    block.mixer.control.recorded = chosen
    block(x, layout)
    expected = torch.where(recorded.min(1, keepdim=True).values < 0, live, recorded)
    assert len(chosen) == 1 and torch.equal(chosen[0], expected)
    block.mixer.control.replayed = torch.full((12, 2), 8)
    with pytest.raises(ValueError, match="recorded expert 8"):
        block(x, layout)


def test_a_frozen_gate_gets_no_gradient_and_its_inputs_do(layer: Any, layout_of: Any) -> None:
    _, _, block, config = parts(layer)
    block.mixer.freeze_router()
    x = torch.randn(9, config.hidden_size, dtype=torch.float64, requires_grad=True)
    block(x, layout_of([9], config)).sum().backward()
    assert block.mixer.gate.weight.grad is None and x.grad is not None
    assert block.mixer.experts.up_proj.grad is not None


def test_a_balancing_loss_is_computed_step_by_step(layer: Any, layout_of: Any) -> None:
    from model.layers.moe import Balance

    _, _, block, config = parts(layer)
    block.mixer.control.balance = Balance(1e-2, torch.zeros(5, dtype=torch.int64), 1, None)
    x = torch.randn(5, config.hidden_size, dtype=torch.float64)
    assert not native.takes(x, block.norm, block.mixer, None)
    block(x, layout_of([5], config))
    assert len(block.mixer.control.balance.losses) == 1


def _normed(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps) * weight
