"""Routing control: a record replays to the same bits, another record changes the experts, balancing losses add up."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from model.cache import StateCache
from model.kernels.router_balance import balance_losses
from model.routing import balance_terms, record_experts, replay_experts
from model.stack import HybridModel


def gradients(model: HybridModel, ids: Tensor, bounds: Tensor, targets: Tensor) -> dict[str, Tensor]:
    model.zero_grad(set_to_none=True)
    model.token_logprobs(model(ids, bounds), targets)[0].sum().backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_replaying_its_own_routing_changes_no_bit(build, pack) -> None:
    ids, bounds = pack([9, 20])
    model = build()
    with record_experts(model) as record:
        hidden = model(ids, bounds)
    experts = record.take()
    assert experts.shape == (29, 3, 2) and experts.dtype == torch.uint8
    before = gradients(model, ids, bounds, ids)
    with replay_experts(model, experts):
        assert torch.equal(model(ids, bounds), hidden)
        after = gradients(model, ids, bounds, ids)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_replay_takes_the_experts_of_the_record_and_weighs_them_live(build, pack) -> None:
    ids, bounds = pack([12])
    model = build(torch.float64, hybrid_override_pattern="E")
    with record_experts(model) as record:
        live = model(ids, bounds)
        other = (record.take().long() + 3) % 8
        with replay_experts(model, other):
            replayed = model(ids, bounds)
    assert torch.equal(record.take().long(), other)
    assert not torch.allclose(live, replayed)
    # By hand: 2.5 s / sum of chosen s, of the live scores.
    block = next(model.blocks())
    mixer, x = block.mixer, block.normalise(model.embed(ids))
    scores = torch.sigmoid(x @ mixer.gate.weight.T).gather(1, other[:, 0])
    weights = 2.5 * scores / scores.sum(1, keepdim=True)
    y = mixer.shared_experts.add_to(model.embed(ids), x)
    for t in range(12):
        for place in range(2):
            e = other[t, 0, place]
            y[t] += weights[t, place] * (torch.relu(mixer.experts.up_proj[e] @ x[t]) ** 2 @ mixer.experts.down_proj[e])
    torch.testing.assert_close(model.final_norm(y), replayed, rtol=0, atol=1e-12)


def test_a_token_without_record_chooses_live(build, pack) -> None:
    ids, bounds = pack([6])
    model = build()
    with record_experts(model) as record:
        model(ids, bounds)
        own = record.take().to(torch.int16)
        other = (own + 1) % 8
        other[3:] = -1
        with replay_experts(model, other):
            model(ids, bounds)
    seen = record.take().to(torch.int16)
    assert torch.equal(seen[:3], other[:3])
    assert torch.equal(seen[3:, 0], own[3:, 0]), "the first MoE layer sees what it saw before"


def test_replay_ends_with_its_block_even_after_an_error(build, pack) -> None:
    ids, bounds = pack([6])
    model = build()
    hidden = model(ids, bounds)
    with (
        pytest.raises(ValueError, match=r"recorded experts must be \(6, 2\)"),
        replay_experts(model, torch.zeros(5, 3, 2, dtype=torch.int64)),
    ):
        model(ids, bounds)
    assert torch.equal(model(ids, bounds), hidden)


def test_nothing_is_asked_outside_of_a_block(build, pack) -> None:
    model = build()
    controls = [mixer.control for mixer in model.moe_layers()]
    record = torch.zeros(6, 3, 2, dtype=torch.uint8)
    for block in (record_experts(model), replay_experts(model, record), balance_terms(model, pack([6])[1], 1.0)):
        with block:
            assert all(control.asks for control in controls)
        assert not any(control.asks for control in controls)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (torch.zeros(6, 2, 2, dtype=torch.int64), r"\[tokens, 3 MoE layers, 2 experts per token\], got \[6, 2, 2\]"),
        (torch.zeros(6, 3, 1, dtype=torch.int64), r"got \[6, 3, 1\]"),
        (torch.zeros(6, 3, 2), "whole numbers, got torch.float32"),
        (torch.full((6, 3, 2), 8, dtype=torch.uint8), "expert 8 is not one of 8"),
    ],
)
def test_a_record_of_another_model_is_refused(build, record: Tensor, told: str) -> None:
    with pytest.raises(ValueError, match=told), replay_experts(build(), record):
        pass


def test_prefill_is_recorded_and_trains_later(build, pack) -> None:
    ids, bounds = pack([7])
    model = build()
    with record_experts(model) as record, torch.inference_mode():
        model.prefill(ids, bounds, StateCache(model.config, 1, 32), [0])
    with replay_experts(model, record.take()):
        assert gradients(model, ids, bounds, ids)
    assert record.take().shape == (0, 3, 2)


def test_what_was_sampled_replays_in_training(build, pack) -> None:
    # Wide enough that decoding sorts tokens by expert, as it does at the published size.
    ids, _ = pack([9])
    model = build(n_routed_experts=80, num_experts_per_tok=3)
    cache = StateCache(model.config, 1, 32)
    with record_experts(model) as record:
        model.prefill(ids[:4], torch.tensor([0, 4]), cache, [0])
        logits = [model.decode(ids[t : t + 1], cache, [0])[0] for t in range(4, 9)]
    experts = record.take()
    assert experts.shape == (9, 3, 3)
    with torch.no_grad():
        # A selection bias that has moved since would choose others.
        for mixer in model.moe_layers():
            mixer.gate.e_score_correction_bias += torch.randn(80)
        moved = model.logits(model(ids, torch.tensor([0, 9])))[4:]
        with replay_experts(model, experts):
            replayed = model.logits(model(ids, torch.tensor([0, 9])))[4:]
    torch.testing.assert_close(replayed, torch.stack(logits), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(moved, replayed, atol=1e-2)


def test_layers_computed_again_leave_one_record_one_count_and_one_loss(build, pack) -> None:
    ids, bounds = pack([9, 11])
    found = []
    for letters in ("", "ME*"):
        model = build(torch.float64).train()
        model.recompute(letters)
        with record_experts(model) as record, balance_terms(model, bounds, 0.5) as terms:
            loss = model(ids, bounds).square().sum() + terms.total()
            loss.backward()
        gates = [mixer.gate.weight.grad.clone() for mixer in model.moe_layers()]
        counts = [mixer.expert_counts.clone() for mixer in model.moe_layers()]
        found.append((loss.detach(), terms.per_layer().detach(), record.take(), *gates, *counts))
    for plain, again in zip(*found, strict=True):
        assert torch.equal(plain, again)
    assert found[0][-1].sum() == 20 * 2


def test_replay_holds_while_layers_are_computed_again(build, pack) -> None:
    ids, bounds = pack([10])
    other = torch.arange(60).view(10, 3, 2) % 8
    found = []
    for letters in ("", "E"):
        model = build(torch.float64)
        model.recompute(letters)
        with replay_experts(model, other):
            found.append(gradients(model, ids, bounds, ids))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])


def test_balancing_loss_of_each_sequence_and_layer(build, pack) -> None:
    ids, bounds = pack([5, 8])
    model = build(torch.float64, hybrid_override_pattern="EE")
    counted = torch.arange(13) % 3 > 0
    with balance_terms(model, bounds, 1e-2, counted) as terms:
        assert terms.total() == 0
        model(ids, bounds)
        found = terms.per_layer()
        assert found.shape == (2, 2)
        torch.testing.assert_close(terms.total(), found.sum())
    block = next(model.blocks())
    logits = block.normalise(model.embed(ids)) @ block.mixer.gate.weight.T
    sequence = torch.tensor([0] * 5 + [1] * 8)
    torch.testing.assert_close(found[0], balance_losses(logits, 2, 1e-2, sequence, 2, counted))
    found.sum().backward()
    assert all(mixer.gate.weight.grad.abs().sum() > 0 for mixer in model.moe_layers())


def test_the_balancing_loss_evens_the_load(build, pack) -> None:
    ids, bounds = pack([40] * 4)
    model = build(hybrid_override_pattern="E", initializer_range=0.3)
    gate = next(model.moe_layers()).gate.weight
    optimizer = torch.optim.SGD([gate], lr=2.0)
    losses = []
    for _ in range(30):
        with balance_terms(model, bounds, 1.0) as terms:
            model(ids, bounds)
            loss = terms.total() / 4
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[0] > losses[-1] > 0.99  # 1 is an even load
    assert losses[-1] - 1 < 0.5 * (losses[0] - 1)
