"""Layers over e4m3 weights: the library's product and its emulation agree, a byte a number is held."""

from __future__ import annotations

import pytest
import torch

from model.kernels.fp8 import linear_fp8_reference, scaled_product_takes
from model.quantise.checkpoint import load_quantised
from model.quantise.static import Fp8Experts, Fp8Linear


def test_the_product_on_e4m3_numbers_equals_its_emulation(saved) -> None:
    fp8, emulated = load_quantised(saved), load_quantised(saved, form="emulated")
    x = torch.randn(16, 32) * 3
    checked = 0
    for (name, module), other in zip(fp8.named_modules(), emulated.modules(), strict=True):
        if isinstance(module, Fp8Linear) and module.q_weight.shape[1] == 32:
            expected = linear_fp8_reference(x, module.q_weight, module.input_scale, module.weight_scale)
            torch.testing.assert_close(module(x), expected, rtol=4e-7, atol=1e-6, msg=name)
            torch.testing.assert_close(other(x), expected, rtol=1e-5, atol=1e-5, msg=name)
            checked += 1
    assert checked == 6


def test_the_library_is_used_where_sizes_allow(saved) -> None:
    layer = load_quantised(saved).layers[1].mixer.shared_experts.up_proj
    q = torch.randn(4, 32).to(torch.float8_e4m3fn)
    assert tuple(layer.q_weight.shape) == (64, 32)
    if not scaled_product_takes(q, layer.q_weight):
        pytest.skip("this build of torch multiplies no e4m3 here")
    calls = []
    whole = torch._scaled_mm
    try:
        torch._scaled_mm = lambda *args, **named: calls.append(1) or whole(*args, **named)
        layer(torch.randn(4, 32))
    finally:
        torch._scaled_mm = whole
    assert calls


def test_whole_models_agree(saved, samples, logits_of) -> None:
    fp8, emulated = (logits_of(load_quantised(saved, form=form), samples) for form in ("fp8", "emulated"))
    # A last bit may round another way on its way into the next layer: one step of e4m3 there.
    assert (fp8 - emulated).abs().mean() < 2e-2 * emulated.abs().mean()


def test_weights_are_held_in_one_byte(saved) -> None:
    model = load_quantised(saved)
    mixer = model.layers[1].mixer
    assert isinstance(mixer.experts, Fp8Experts) and isinstance(mixer.shared_experts.up_proj, Fp8Linear)
    assert mixer.experts.q_up.nbytes == mixer.experts.q_up.numel() == 4 * 32 * 32
    held = [name for name, _ in model.named_parameters()]
    assert not any("experts" in name or name.startswith("layers.0.mixer.in_proj") for name in held)
    assert {"layers.2.mixer.in_proj.weight", "layers.3.mixer.o_proj.weight", "lm_head.weight"} <= set(held)


def test_decoding_reads_the_dequantised_weights(saved, samples) -> None:
    from model.cache import StateCache

    fp8, plain = load_quantised(saved), load_quantised(saved, form="dequantised")
    logits = []
    for model in (fp8, plain):
        cache = StateCache(model.config, 1, 16)
        logits.append(model.decode(torch.tensor([5]), cache, [0]))
    torch.testing.assert_close(*logits, rtol=1e-4, atol=1e-5)


def test_no_tokens_are_no_error(saved) -> None:
    for form in ("fp8", "emulated"):
        layer = load_quantised(saved, form=form).layers[0].mixer.in_proj
        assert layer(torch.empty(0, 32)).shape == (0, len(layer.q_weight))
