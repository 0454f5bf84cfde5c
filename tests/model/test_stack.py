"""The whole model: packing changes nothing, seeds decide everything, the router can be frozen and balanced."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.config import HybridConfig
from model.stack import HybridModel

pytestmark = pytest.mark.usefixtures("form")

Build = Callable[..., HybridModel]
Pack = Callable[..., tuple[Tensor, Tensor]]


def loss_of(model: HybridModel, token_ids: Tensor, cu_seqlens: Tensor) -> Tensor:
    logprobs, entropy = model.token_logprobs(model(token_ids, cu_seqlens), token_ids.roll(-1))
    return (logprobs * torch.arange(1, len(token_ids) + 1)).sum() + entropy.sum()


def test_packed_equals_separate_in_outputs_and_gradients(build: Build, pack: Pack) -> None:
    lengths = [3, 1, 30, 9, 17, 8]
    token_ids, bounds = pack(lengths)
    model = build(torch.float64)
    hidden = model(token_ids, bounds)
    weights = torch.arange(1, len(token_ids) + 1, dtype=torch.float64)
    (hidden.sin().sum(-1) * weights).sum().backward()
    inner = [(name, parameter) for name, parameter in model.named_parameters() if "lm_head" not in name]
    packed = {name: parameter.grad.clone() for name, parameter in inner}
    model.zero_grad()
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        alone = model(token_ids[first:last], torch.tensor([0, last - first]))
        torch.testing.assert_close(alone, hidden[first:last], rtol=0, atol=1e-9)
        (alone.sin().sum(-1) * weights[first:last]).sum().backward()
    for name, parameter in inner:
        scale = packed[name].abs().max().clamp(min=1)
        assert (parameter.grad - packed[name]).abs().max() <= 1e-9 * scale, name


def test_gradients_equal_finite_differences(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([5, 12])
    model = build(torch.float64)
    loss_of(model, token_ids, bounds).backward()
    draw = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64)
        values = []
        with torch.no_grad():
            for step in (1e-6, -2e-6):
                parameter.add_(direction, alpha=step)
                values.append(loss_of(model, token_ids, bounds))
            parameter.add_(direction, alpha=1e-6)
        slope = (values[0] - values[1]) / 2e-6
        expected = (parameter.grad * direction).sum()
        assert abs(slope - expected) <= 1e-5 * max(1.0, abs(expected)), name


def test_one_very_long_sequence_among_short_ones(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([700, 2, 3, 5])
    model = build()
    with torch.no_grad():
        hidden = model(token_ids, bounds)
        tail = model(token_ids[705:], torch.tensor([0, 5]))
    torch.testing.assert_close(hidden[705:], tail, rtol=0, atol=1e-5)


def test_token_logprobs_are_those_of_the_logits(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([6, 7])
    model = build()
    hidden = model(token_ids, bounds)
    logprobs, entropy = model.token_logprobs(hidden, token_ids)
    table = model.logits(hidden).log_softmax(-1)
    torch.testing.assert_close(logprobs, table.gather(1, token_ids[:, None])[:, 0])
    torch.testing.assert_close(entropy, -(table.exp() * table).sum(-1))


def test_a_seed_decides_the_weights() -> None:
    config = HybridConfig.tiny(50)
    first, again, other = (HybridModel(config, seed=seed) for seed in (3, 3, 4))
    drawn = HybridModel(config, generator=torch.Generator().manual_seed(3))
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, again.get_parameter(name)) and torch.equal(parameter, drawn.get_parameter(name))
    assert not torch.equal(first.embeddings.weight, other.embeddings.weight)


def test_initial_values() -> None:
    config = HybridConfig.tiny(320)
    model = HybridModel(config)
    mixer = model.layers[0].mixer
    dt = torch.nn.functional.softplus(mixer.dt_bias)
    assert (dt >= 0.001 * 0.999).all() and (dt <= 0.1 * 1.001).all()
    torch.testing.assert_close(mixer.A_log.exp(), torch.tensor([1.0, 2.0]))
    assert (mixer.D == 1).all() and (mixer.norm.weight == 1).all()
    assert mixer.conv1d.weight.abs().max() <= 0.5
    assert model.embeddings.weight.std().item() == pytest.approx(config.initializer_range, rel=0.05)
    assert mixer.out_proj.weight.std().item() == pytest.approx(config.initializer_range / 7**0.5, rel=0.1)


def test_parameter_count_on_meta() -> None:
    for config in (HybridConfig.nano(), HybridConfig.tiny(320)):
        model = HybridModel(config, device="meta")
        assert sum(parameter.numel() for parameter in model.parameters()) == config.count_parameters().total


def test_frozen_router_stays_while_its_inputs_learn(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([9, 20])
    model = build(torch.float64)
    loss_of(model, token_ids, bounds).backward()
    free = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad(set_to_none=True)
    model.freeze_router()
    gates = [mixer.gate.weight.clone() for mixer in model.moe_layers()]
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    loss_of(model, token_ids, bounds).backward()
    for name, parameter in model.named_parameters():
        if "gate" in name:
            assert parameter.grad is None
        else:
            # The gradient through the gate's scores is still there.
            torch.testing.assert_close(parameter.grad, free[name])
    optimizer.step()
    for gate, mixer in zip(gates, model.moe_layers(), strict=True):
        assert torch.equal(gate, mixer.gate.weight)


def test_experts_are_counted_in_training_only(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([9, 20])
    model = build()
    counted = torch.arange(29) < 11
    model.eval()(token_ids, bounds)
    with torch.no_grad():
        model.train()(token_ids, bounds)
    assert all(mixer.expert_counts.sum() == 0 for mixer in model.moe_layers())
    model(token_ids, bounds, counted)
    assert all(mixer.expert_counts.sum() == 11 * 2 for mixer in model.moe_layers())
    model(token_ids, bounds)
    assert all(mixer.expert_counts.sum() == (11 + 29) * 2 for mixer in model.moe_layers())


def test_expert_bias_moves_by_sign_and_is_centred() -> None:
    model = HybridModel(HybridConfig.tiny(50, n_routed_experts=4))
    mixer = next(model.moe_layers())
    mixer.expert_counts.copy_(torch.tensor([8, 2, 1, 1]))
    model.update_expert_bias(0.01)
    # signs -1 +1 +1 +1 around the mean count 3; their mean 1/2 comes off
    torch.testing.assert_close(mixer.gate.e_score_correction_bias, torch.tensor([-0.015, 0.005, 0.005, 0.005]))
    assert mixer.expert_counts.sum() == 0
    before = mixer.gate.e_score_correction_bias.clone()
    model.update_expert_bias(0.01)
    assert torch.equal(mixer.gate.e_score_correction_bias, before)


def test_bias_updates_balance_a_skewed_router(pack: Pack) -> None:
    token_ids, bounds = pack([60] * 8)
    model = HybridModel(HybridConfig.tiny(97, hybrid_override_pattern="ME", initializer_range=0.2))
    mixer = next(model.moe_layers())
    worst = []
    for _ in range(80):
        model(token_ids, bounds)
        counts = mixer.expert_counts.double()
        worst.append(float(counts.max() / counts.mean()))
        model.update_expert_bias(0.01)
    assert worst[-1] < 1.3 < worst[0]


def test_the_selection_bias_never_leaves_fp32(pack: Pack) -> None:
    model = HybridModel(HybridConfig.tiny(97), dtype=torch.bfloat16)
    assert all(mixer.gate.e_score_correction_bias.dtype == torch.float32 for mixer in model.moe_layers())
    with pytest.raises(TypeError, match="must stay float32"):
        model.to(torch.bfloat16)(*pack([4]))


def test_bf16_follows_fp32(build: Build, pack: Pack) -> None:
    token_ids, bounds = pack([12, 30])
    wide, narrow = build(hybrid_override_pattern="M*M"), build(torch.bfloat16, hybrid_override_pattern="M*M")
    with torch.no_grad():
        expected, _ = wide.token_logprobs(wide(token_ids, bounds), token_ids)
        got, _ = narrow.token_logprobs(narrow(token_ids, bounds), token_ids)
    assert got.dtype == torch.float32
    assert (got - expected).abs().mean() < 0.05


def test_shape_errors(build: Build) -> None:
    model = build()
    with pytest.raises(ValueError, match="packed to one dimension"):
        model(torch.zeros(2, 3, dtype=torch.int64), torch.tensor([0, 6]))
    with pytest.raises(ValueError, match="ends at 4 but 6 tokens"):
        model(torch.zeros(6, dtype=torch.int64), torch.tensor([0, 4]))
