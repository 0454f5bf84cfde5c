"""Expert load: the sign rule by hand, recentred, over data-parallel counts; the balancing loss of supervised steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from model.config import HybridConfig
from model.stack import HybridModel
from trainer import router
from trainer.config import GrpoRecipe, ObjectiveRecipe, SftRecipe
from trainer.learner import Learner
from trainer.pack import Sample


def hybrid(**overrides: object) -> HybridModel:
    small = dict(hidden_size=16, hybrid_override_pattern="EE", n_routed_experts=4, moe_intermediate_size=8)
    return HybridModel(HybridConfig.tiny(12, **(small | overrides)), dtype=torch.float64)


def load(model: HybridModel, *counts: list[int]) -> None:
    for layer, numbers in zip(model.moe_layers(), counts, strict=True):
        layer.expert_counts.copy_(torch.tensor(numbers))


def biases(model: HybridModel) -> list[Tensor]:
    return [layer.gate.e_score_correction_bias.clone() for layer in model.moe_layers()]


def test_biases_move_by_the_sign_and_the_mean_of_the_move_comes_off() -> None:
    model = hybrid()
    load(model, [9, 1, 1, 1], [3, 3, 2, 0])
    found = router.balance(model, 0.01)
    # means 3 and 2: signs (-1 1 1 1) less 1/2, and (-1 -1 0 1) less -1/4
    expected = [[-0.015, 0.005, 0.005, 0.005], [-0.0075, -0.0075, 0.0025, 0.0125]]
    torch.testing.assert_close(torch.stack(biases(model)), torch.tensor(expected), rtol=0, atol=1e-9)
    assert found == {"moe/max_vio": 2.0, "moe/mean_vio": 1.25, "moe/unused_experts": 1.0}
    assert all(layer.expert_counts.sum() == 0 for layer in model.moe_layers())


def test_biases_never_drift() -> None:
    model = hybrid()
    draw = torch.Generator().manual_seed(0)
    for _ in range(200):
        load(model, *torch.randint(50, (2, 4), generator=draw).tolist())
        router.balance(model, 1e-3)
    assert all(abs(float(bias.double().sum())) < 1e-7 for bias in biases(model))
    assert any(bias.abs().max() > 2e-3 for bias in biases(model))


def test_even_and_empty_loads_move_nothing() -> None:
    model = hybrid()
    load(model, [5, 5, 5, 5], [0, 0, 0, 0])
    assert router.balance(model, 0.01) == {"moe/max_vio": 0.0, "moe/mean_vio": 0.0, "moe/unused_experts": 0.0}
    assert all(not bias.any() for bias in biases(model))
    assert router.balance(model, 0.01) == {}


def test_rate_zero_reports_and_moves_nothing() -> None:
    model = hybrid()
    load(model, [9, 1, 1, 1], [9, 1, 1, 1])
    assert router.balance(model, 0.0)["moe/max_vio"] == 2.0
    assert all(not bias.any() for bias in biases(model))


def test_counts_of_all_processes_are_added_before_the_sign_is_taken() -> None:
    # Each half is skewed, one to the first expert and one to the second; alone they would move the other way.
    halves = ([8, 0, 2, 2], [1, 9, 1, 1]), ([1, 1, 5, 5], [5, 5, 1, 1])
    total = torch.tensor(halves).sum(0)
    whole = hybrid()
    load(whole, *total.tolist())
    expected = router.balance(whole, 0.01)
    for half in halves:
        calls = []

        def add_up(counts: Tensor, half=half, calls=calls) -> Tensor:
            assert counts.tolist() == list(half)
            calls.append(1)
            return total

        model = hybrid()
        load(model, *half)
        assert router.balance(model, 0.01, add_up) == expected
        assert calls == [1], "one call for all layers"
        assert all(torch.equal(a, b) for a, b in zip(biases(model), biases(whole), strict=True))


def test_max_violation_by_hand() -> None:
    assert router.max_violation(torch.tensor([6.0, 1.0, 1.0, 0.0])) == 2.0
    assert router.max_violation(torch.tensor([2.0, 2.0])) == 0.0


def samples(count: int = 6) -> list[Sample]:
    random = np.random.default_rng(0)
    lengths = random.integers(4, 9, count)
    return [
        Sample(random.integers(0, 12, n).astype(np.int32), np.arange(n) > 0, np.zeros(n, np.float32)) for n in lengths
    ]


def supervised(coefficient: float, tokens: int = 16384, **shape: object) -> tuple[HybridModel, dict[str, float]]:
    model = hybrid(initializer_range=0.5, **shape)
    learner = Learner(
        model, GrpoRecipe(tokens_per_microbatch=tokens, expert_bias_rate=0.0, grad_clip=1e9), ObjectiveRecipe()
    )
    learner.begin("sft", 0.01)
    return model, learner.sft_step(samples(), 1.0, coefficient)


def test_supervised_steps_add_the_balancing_loss_however_they_are_packed() -> None:
    plain, without = supervised(0.0)
    whole, metrics = supervised(0.1)
    pieces, cut = supervised(0.1, tokens=9)
    assert "sft/aux_loss" not in without
    # Two layers, each at least near the coefficient; the same whether samples share a pass or not.
    assert 0.15 < metrics["sft/aux_loss"] < 0.6
    assert cut["sft/aux_loss"] == pytest.approx(metrics["sft/aux_loss"], rel=1e-9)
    assert metrics["sft/loss"] == pytest.approx(without["sft/loss"], rel=1e-12), "the loss reported is the likelihood's"
    for (name, a), b in zip(whole.named_parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-8, msg=name)
    gates = [torch.stack([layer.gate.weight.detach() for layer in m.moe_layers()]) for m in (plain, whole)]
    assert not torch.equal(*gates)


def test_reinforcement_freezes_the_gates_and_never_asks_for_the_loss() -> None:
    model = hybrid()
    Learner(model, GrpoRecipe(), ObjectiveRecipe()).begin("grpo", 0.01)
    assert all(not layer.gate.weight.requires_grad for layer in model.moe_layers())
    assert all(layer.control.balance is None for layer in model.moe_layers())


def test_the_coefficient_must_be_a_weight() -> None:
    assert SftRecipe(aux_loss_coef=1e-4).aux_loss_coef == 1e-4
    for wrong in (-1e-4, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="aux_loss_coef"):
            SftRecipe(aux_loss_coef=wrong)
