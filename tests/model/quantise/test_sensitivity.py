"""The sweep: a row per class, KL worked by hand, what is not quantised costs nothing, the model comes back."""

from __future__ import annotations

import pytest
import torch

from model.quantise.fake import fake_quantised
from model.quantise.scales import scales_of
from model.quantise.sensitivity import EVERYTHING, RULE, RULE_AND_CACHE, sensitivity_sweep
from model.quantise.sites import sites


def test_rows_and_their_sizes(model, amax, samples) -> None:
    rows = {row.quantised: row for row in sensitivity_sweep(model, amax, samples)}
    assert list(rows) == [
        "mamba",
        "mamba before attention",
        "attention",
        "experts",
        "shared experts",
        "lm_head",
        "key-value cache",
        RULE,
        RULE_AND_CACHE,
        EVERYTHING,
    ]
    assert rows["attention"].linears == 4 and rows["experts"].linears == 2 * 4 * 2 and rows["lm_head"].linears == 1
    assert rows[RULE].linears == rows["mamba"].linears + rows["experts"].linears + rows["shared experts"].linears
    assert rows[RULE].parameters < rows[EVERYTHING].parameters
    assert rows["lm_head"].parameters == 48 * 32 and rows["lm_head"].saved_bytes == 48 * 32 - 8
    assert all(row.kl_max >= row.kl_mean > 0 for row in rows.values())
    assert all(0.3 < row.same_top_token <= 1 for row in rows.values())
    singles = [row.kl_mean for row in list(rows.values())[:7]]
    assert rows[EVERYTHING].kl_mean > min(singles)


def test_kl_by_hand(model, amax, samples, logits_of) -> None:
    row = next(row for row in sensitivity_sweep(model, amax, samples, tokens_per_pass=20) if row.quantised == "experts")
    names = [name for site in sites(model) if site.kind == "experts" for name in site.names]
    p = logits_of(model, samples).double().softmax(-1)
    with fake_quantised(model, scales_of(model, amax, names, cache=False)):
        q = logits_of(model, samples).double().softmax(-1)
    kl = (p * (p / q).log()).sum(-1)
    assert row.kl_mean == pytest.approx(float(kl.mean()), rel=2e-2)
    assert row.same_top_token == pytest.approx(float((p.argmax(-1) == q.argmax(-1)).double().mean()), abs=0.03)


def test_a_model_of_one_class(small, samples) -> None:
    from model.quantise.calibration import calibrate

    model = small(hybrid_override_pattern="M")
    rows = [row.quantised for row in sensitivity_sweep(model, calibrate(model, samples), samples)]
    assert rows == ["mamba", "lm_head", RULE, EVERYTHING]


def test_the_model_is_as_before(model, amax, samples, logits_of) -> None:
    before, modules = logits_of(model, samples), [site.module for site in sites(model)]
    model.train()
    sensitivity_sweep(model, amax, samples)
    assert model.training and [site.module for site in sites(model)] == modules
    assert torch.equal(logits_of(model, samples), before)


def test_numbers_that_e4m3_holds_cost_nothing(small, samples) -> None:
    from model.quantise.calibration import calibrate

    model = small(hybrid_override_pattern="M")
    with torch.no_grad():
        model.lm_head.weight.copy_(torch.randint(-8, 9, model.lm_head.weight.shape))
        model.lm_head.weight[0, 0] = 448
    amax = calibrate(model, samples)
    scales = scales_of(model, amax, ["lm_head"])
    assert scales.weights["lm_head"] == 1
    with fake_quantised(model, scales, activations=False):
        x = torch.randn(3, 32)
        assert torch.equal(model.lm_head(x), torch.nn.functional.linear(x, model.lm_head.weight))
