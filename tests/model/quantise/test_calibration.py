"""Calibration: what it sees is what enters each layer, more data never shrinks it, packing changes nothing."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.kernels.router import route
from model.quantise.calibration import Amax, calibrate
from model.quantise.scales import scales_of
from model.quantise.sites import sites


def test_maxima_by_hand(small, samples) -> None:
    model = small(hybrid_override_pattern="E")
    amax = calibrate(model, samples)
    block = next(model.blocks())
    mixer = block.mixer
    x = block.normalise(model.embed(torch.tensor(list(chain(*samples)))))
    routing = route(x, mixer.gate.weight, mixer.gate.e_score_correction_bias, 2, 2.5, True)
    prefix = "backbone.layers.0.mixer"
    for e in range(4):
        here = x[(routing.experts == e).any(1)]
        hidden = torch.relu(here @ mixer.experts.up_proj[e].T) ** 2
        assert amax.inputs[f"{prefix}.experts.{e}.up_proj"] == here.abs().max()
        torch.testing.assert_close(amax.inputs[f"{prefix}.experts.{e}.down_proj"], hidden.max())
    shared = torch.relu(x @ mixer.shared_experts.up_proj.weight.T) ** 2
    assert amax.inputs[f"{prefix}.shared_experts.up_proj"] == x.abs().max()
    torch.testing.assert_close(amax.inputs[f"{prefix}.shared_experts.down_proj"], shared.max())
    assert (amax.num_samples, amax.num_tokens) == (5, len(x))


def test_every_linear_layer_and_both_caches_are_watched(model, amax) -> None:
    assert set(amax.inputs) == {name for site in sites(model) for name in site.names}
    assert set(amax.cache) == {"backbone.layers.3.mixer.k_proj", "backbone.layers.3.mixer.v_proj"}
    assert all(value > 0 for value in amax.cache.values())


def test_the_cache_is_watched_after_its_projection(model, samples, amax) -> None:
    seen = {}
    mixer = model.layers[3].mixer
    handle = mixer.qkv_proj.register_forward_hook(lambda module, args, y: seen.update(y=y))
    with torch.no_grad():
        model(torch.tensor(list(chain(*samples))), torch.tensor([0, *map(len, samples)]).cumsum(0))
    handle.remove()
    _, keys, values = mixer.shape.split(seen["y"])
    torch.testing.assert_close(amax.cache["backbone.layers.3.mixer.k_proj"], keys.abs().max())
    torch.testing.assert_close(amax.cache["backbone.layers.3.mixer.v_proj"], values.abs().max())


def test_more_data_never_shrinks_a_maximum(model, draw_samples) -> None:
    samples = draw_samples(6)
    before = calibrate(model, samples[:2])
    grown = False
    for count in (3, 5, 6):
        after = calibrate(model, samples[:count])
        for held, more in ((before.inputs, after.inputs), (before.cache, after.cache)):
            # Another packing rounds the last bit differently.
            assert all(more[name] >= value * (1 - 1e-5) for name, value in held.items())
            grown |= any(more[name] > value * 1.001 for name, value in held.items())
        before = after
    assert grown


def test_order_and_packing_change_nothing(model, samples) -> None:
    whole = calibrate(model, samples)
    for other in (calibrate(model, samples[::-1]), calibrate(model, iter(samples), tokens_per_pass=1)):
        for name, value in whole.inputs.items():
            torch.testing.assert_close(other.inputs[name], value, rtol=1e-4, atol=1e-6)
        assert other.num_tokens == whole.num_tokens


def test_merged_calibrations_are_one(model, samples) -> None:
    whole, part = calibrate(model, samples, tokens_per_pass=1), calibrate(model, samples[:2], tokens_per_pass=1)
    part.merge(calibrate(model, samples[2:], tokens_per_pass=1))
    assert part == whole


@given(st.lists(st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=1), min_size=1))
@settings(deadline=None, max_examples=30)
def test_a_maximum_is_of_magnitudes(runs: list[list[float]]) -> None:
    amax = Amax()
    for run in runs:
        amax.see(amax.inputs, "x", torch.tensor(run))
    assert amax.inputs["x"] == max(abs(torch.tensor(number)) for run in runs for number in run)


def test_calibration_leaves_the_model_as_it_was(model, samples, logits_of) -> None:
    before, modules = logits_of(model, samples), [site.module for site in sites(model)]
    model.train()
    calibrate(model, samples)
    assert model.training and [site.module for site in sites(model)] == modules
    assert all(mixer.expert_counts.sum() == 0 for mixer in model.moe_layers())
    assert torch.equal(logits_of(model, samples), before)


@pytest.mark.parametrize(
    ("samples", "told"),
    [
        ([], "at least one sample"),
        ([[1, 2], []], "sample 2 has no tokens"),
        ([[1], [3, 48]], r"sample 2 has tokens 3\.\.48, the model has 0\.\.47"),
        ([[-1]], r"sample 1 has tokens -1\.\.-1"),
    ],
)
def test_samples_that_cannot_be_read_are_named(model, samples: list[list[int]], told: str) -> None:
    modules = [site.module for site in sites(model)]
    with pytest.raises(ValueError, match=told):
        calibrate(model, samples)
    assert [site.module for site in sites(model)] == modules


def test_scales_are_maxima_over_448(model, amax) -> None:
    scales = scales_of(model, amax)
    name = "backbone.layers.0.mixer.in_proj"
    torch.testing.assert_close(scales.weights[name], model.layers[0].mixer.in_proj.weight.abs().max().detach() / 448)
    torch.testing.assert_close(scales.inputs[name], amax.inputs[name] / 448)
    expert = "backbone.layers.1.mixer.experts.2.down_proj"
    weight = model.layers[1].mixer.experts.down_proj[2].abs().max().detach()
    torch.testing.assert_close(scales.weights[expert], weight / 448)
    assert all(scale.dtype == torch.float32 and scale.dim() == 0 for scale in scales.weights.values())


def test_an_expert_without_tokens_takes_the_largest_of_its_layer(small, samples) -> None:
    model = small()
    with torch.no_grad():
        model.layers[1].mixer.gate.e_score_correction_bias[3] = -10
    amax = calibrate(model, samples)
    up = {e: amax.inputs[f"backbone.layers.1.mixer.experts.{e}.up_proj"] for e in range(4)}
    assert up[3] == 0 and min(up[0], up[1], up[2]) > 0
    scales = scales_of(model, amax)
    largest = max(up.values()) / 448
    assert scales.inputs["backbone.layers.1.mixer.experts.3.up_proj"] == largest
    down = [amax.inputs[f"backbone.layers.1.mixer.experts.{e}.down_proj"] for e in range(3)]
    torch.testing.assert_close(scales.inputs["backbone.layers.1.mixer.experts.3.down_proj"], max(down) / 448)


def test_numbers_that_are_not_finite_are_named(model, samples) -> None:
    amax = calibrate(model, samples)
    amax.see(amax.inputs, "backbone.layers.0.mixer.out_proj", torch.tensor([1.0, float("nan")]))
    with pytest.raises(ValueError, match=r"the input of backbone\.layers\.0\.mixer\.out_proj: amax must be finite"):
        scales_of(model, amax)
    with torch.no_grad():
        model.layers[0].mixer.in_proj.weight[0, 0] = float("inf")
    with pytest.raises(ValueError, match=r"backbone\.layers\.0\.mixer\.in_proj\.weight: amax must be finite"):
        scales_of(model, amax)


def test_layers_the_model_or_calibration_lacks_are_named(model, amax, small) -> None:
    with pytest.raises(ValueError, match="no linear layer of this model is called nothing"):
        scales_of(model, amax, ["nothing"])
    with pytest.raises(ValueError, match="was not watched: the calibration is of another model"):
        scales_of(small(hybrid_override_pattern="EMEM*EM"), amax)
