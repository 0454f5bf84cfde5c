"""Fake quantisation: rounds what it is told to, passes gradients straight through, leaves the rest alone."""

from __future__ import annotations

import pytest
import torch

from model.kernels.fp8 import fake_quantise
from model.quantise.checkpoint import load_quantised
from model.quantise.fake import FakeLinear, fake_quantise_model, fake_quantised
from model.quantise.scales import Scales, scales_of
from model.quantise.sites import sites


def test_one_linear_layer_by_hand(model, scales) -> None:
    fake_quantise_model(model, scales)
    layer, name = model.layers[0].mixer.in_proj, "backbone.layers.0.mixer.in_proj"
    assert isinstance(layer, FakeLinear)
    x = torch.randn(6, 32)
    q_x, q_w = (
        (t / s).clamp(-448, 448).to(torch.float8_e4m3fn).float() * s
        for t, s in ((x, scales.inputs[name]), (layer.weight, scales.weights[name]))
    )
    torch.testing.assert_close(layer(x), q_x @ q_w.T, rtol=1e-5, atol=1e-6)
    residual = torch.randn(6, len(layer.weight))
    torch.testing.assert_close(layer.add_to(residual, x), residual + q_x @ q_w.T, rtol=1e-5, atol=1e-6)


def test_the_forward_equals_a_written_checkpoint_bit_for_bit(model, scales, saved, samples, logits_of) -> None:
    plain = logits_of(model, samples)
    with fake_quantised(model, scales):
        faked = logits_of(model, samples)
    assert torch.equal(faked, logits_of(load_quantised(saved, form="emulated"), samples))
    assert not torch.equal(faked, plain)
    assert torch.equal(logits_of(model, samples), plain), "undone"


def test_weights_alone_equal_a_plain_model_with_dequantised_weights_bit_for_bit(
    model, scales, saved, samples, logits_of
) -> None:
    with fake_quantised(model, scales, activations=False):
        faked = logits_of(model, samples)
    assert torch.equal(faked, logits_of(load_quantised(saved, form="dequantised"), samples))


def test_in_bf16_too(small, samples, tmp_path, logits_of) -> None:
    from model.quantise.calibration import calibrate
    from model.quantise.checkpoint import save_quantised

    model = small(torch.bfloat16)
    scales = scales_of(model, calibrate(model, samples))
    save_quantised(model, scales, tmp_path / "q")
    with fake_quantised(model, scales):
        faked = logits_of(model, samples)
    assert torch.equal(faked, logits_of(load_quantised(tmp_path / "q", form="emulated"), samples))
    with fake_quantised(model, scales, activations=False):
        faked = logits_of(model, samples)
    assert torch.equal(faked, logits_of(load_quantised(tmp_path / "q", form="dequantised"), samples))


def test_gradients_reach_every_parameter_and_point_the_same_way(model, scales, samples) -> None:
    ids = torch.tensor(samples[3])
    bounds = torch.tensor([0, len(ids)])
    found = []
    for activations in (None, True):
        model.zero_grad(set_to_none=True)
        if activations:
            fake_quantise_model(model, Scales(scales.weights, scales.inputs))
        model.token_logprobs(model(ids, bounds), ids)[0].sum().backward()
        found.append({name: parameter.grad.clone() for name, parameter in model.named_parameters()})
    for name, grad in found[0].items():
        cosine = torch.cosine_similarity(grad.flatten(), found[1][name].flatten(), 0)
        assert cosine > 0.8, name


def test_the_cache_alone(model, scales, samples, logits_of) -> None:
    layer = model.layers[3].mixer.qkv_proj
    x = torch.randn(4, 32)
    q, k, v = layer(x).split([32, 16, 16], -1)
    with fake_quantised(model, Scales(cache=scales.cache)):
        assert [site.kind for site in sites(model) if type(site.module).__name__ != "Linear"].count("attention") == 1
        faked = model.layers[3].mixer.qkv_proj(x)
    prefix = "backbone.layers.3.mixer"
    expected = torch.cat(
        (q, fake_quantise(k, scales.cache[f"{prefix}.k_proj"]), fake_quantise(v, scales.cache[f"{prefix}.v_proj"])), -1
    )
    assert torch.equal(faked, expected)
    assert not torch.equal(faked, torch.cat((q, k, v), -1))


def test_attention_as_one_module_keeps_a_scale_for_each_of_its_matrices(model, amax) -> None:
    names = [f"backbone.layers.3.mixer.{letter}_proj" for letter in "qkv"]
    scales = scales_of(model, amax, names, cache=False)
    weight = model.layers[3].mixer.qkv_proj.weight.detach()
    parts = [
        fake_quantise(part, scales.weights[name]) for part, name in zip(weight.split([32, 16, 16]), names, strict=True)
    ]
    x = torch.randn(4, 32)
    with fake_quantised(model, scales, activations=False):
        torch.testing.assert_close(model.layers[3].mixer.qkv_proj(x), x @ torch.cat(parts).T)
    with pytest.raises(ValueError, match="share one product"), fake_quantised(model, scales.only(names[:2])):
        pass
