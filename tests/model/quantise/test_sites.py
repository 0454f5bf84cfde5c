"""The rule: which layers go to FP8, their number and names at the published size, and how modules are exchanged."""

from __future__ import annotations

import math

import pytest
import torch

from model.checkpoint_names import state_tensors
from model.config import HybridConfig
from model.counting import fp8_excluded, fp8_size
from model.quantise.sites import WrappedLinear, linear_of, quantised_linears, sites, substituted, weights_of
from model.stack import HybridModel

FEEDS_ATTENTION, ATTENTION = (4, 11, 18, 25, 32, 41), (5, 12, 19, 26, 33, 42)


def test_the_published_model_keeps_sixty_modules() -> None:
    config = HybridConfig.nano()
    expected = {"lm_head"}
    expected |= {f"backbone.layers.{i}.mixer.{p}_proj" for i in FEEDS_ATTENTION for p in ("in", "out")}
    expected |= {f"backbone.layers.{i}.mixer.{p}_proj" for i in ATTENTION for p in "qkvo"}
    expected |= {f"backbone.layers.{i}.mixer.conv1d" for i in config.layer_indices("M")}
    names = fp8_excluded(config)
    assert len(names) == 60 and set(names) == expected


def test_the_published_model_in_fp8_counted_on_the_meta_device() -> None:
    config = HybridConfig.nano()
    quantised = set(quantised_linears(config))
    assert len(quantised) == 5968
    fp8 = bf16 = fp32 = 0
    with torch.device("meta"):
        model = HybridModel(config, device="meta", dtype=torch.bfloat16)
    for name, tensor in state_tensors(model):
        if name.removesuffix(".weight") in quantised:
            fp8 += tensor.numel()
        elif ".gate." in name:
            fp32 += tensor.numel()
        else:
            bf16 += tensor.numel()
    nbytes = fp8 + 2 * bf16 + 4 * fp32 + 8 * len(quantised)
    assert round(nbytes / 1e9, 2) == 32.68
    assert nbytes == fp8_size(config).nbytes


def test_every_linear_layer_has_one_site_with_its_released_weight(model: HybridModel) -> None:
    stored = dict(state_tensors(model))
    seen = []
    for site in sites(model):
        for name, weight in zip(site.names, weights_of(site), strict=True):
            assert torch.equal(weight, stored[f"{name}.weight"]), name
            seen.append(name)
    linears = [
        name.removesuffix(".weight") for name in stored if name.endswith("_proj.weight") or name == "lm_head.weight"
    ]
    assert sorted(seen) == sorted(linears)
    assert {site.kind for site in sites(model)} == {
        "mamba",
        "mamba before attention",
        "attention",
        "experts",
        "shared experts",
        "lm_head",
    }


def test_the_classes_outside_the_rule_are_those_it_excludes(model: HybridModel) -> None:
    quantised = set(quantised_linears(model.config))
    for site in sites(model):
        inside = site.kind in ("mamba", "experts", "shared experts")
        assert all((name in quantised) == inside for name in site.names)


def test_an_exchange_ends_with_its_block(model: HybridModel, samples, logits_of) -> None:
    before, modules = logits_of(model, samples), [site.module for site in sites(model)]
    names = [name for name, _ in model.named_parameters()]

    def wrap(site):
        return WrappedLinear(linear_of(site)) if site.kind == "mamba" else None

    with pytest.raises(KeyError), substituted(model, wrap):
        assert sum(isinstance(site.module, WrappedLinear) for site in sites(model)) == 4
        assert [name for name, _ in model.named_parameters()] == names
        assert torch.equal(logits_of(model, samples), before)
        raise KeyError
    assert [site.module for site in sites(model)] == modules


def test_sizes_add_up(model: HybridModel) -> None:
    found = fp8_size(model.config)
    quantised = set(quantised_linears(model.config))
    sizes = {name.removesuffix(".weight"): math.prod(tensor.shape) for name, tensor in state_tensors(model)}
    assert found.fp8 == sum(size for name, size in sizes.items() if name in quantised)
    assert found.linears == len(quantised)
