"""FP8 checkpoints: names, dtypes and description as vLLM reads them, bits that come back, errors that name all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from model.checkpoint import load_pretrained, stored_tensors
from model.checkpoint_names import state_tensors
from model.counting import fp8_excluded, fp8_size
from model.kernels.fp8 import fake_quantise, quantise_reference
from model.quantise.checkpoint import load_quantised, save_quantised
from model.quantise.scales import Scales
from model.quantise.sites import quantised_linears

IN_PROJ = "backbone.layers.0.mixer.in_proj"


def test_names_and_dtypes_on_disk(model, saved: Path) -> None:
    stored = stored_tensors(saved)
    quantised = quantised_linears(model.config)
    plain = [name for name, _ in state_tensors(model)]
    scales = [f"{name}.{kind}" for name in quantised for kind in ("weight_scale", "input_scale")]
    cache = ["backbone.layers.3.mixer.k_proj.k_scale", "backbone.layers.3.mixer.v_proj.v_scale"]
    assert sorted(stored) == sorted([*plain, *scales, *cache])
    for name, tensor in stored.items():
        expected = "F8_E4M3" if name.removesuffix(".weight") in quantised else "F32"
        assert tensor.stored_as == expected, name
        assert tensor.shape == () or not name.endswith("_scale")


def test_bytes_on_disk_are_those_counted(small, samples, tmp_path: Path) -> None:
    from model.quantise.calibration import calibrate
    from model.quantise.scales import scales_of

    model = small(torch.bfloat16)
    save_quantised(model, scales_of(model, calibrate(model, samples), cache=False), tmp_path / "q")
    assert sum(tensor.nbytes for tensor in stored_tensors(tmp_path / "q").values()) == fp8_size(model.config).nbytes
    assert stored_tensors(tmp_path / "q")["backbone.layers.1.mixer.gate.weight"].stored_as == "F32"


def test_stored_weights_dequantise_to_the_fake_quantised_ones_bit_for_bit(model, scales, saved: Path) -> None:
    held = load_file(saved / "model.safetensors")
    for name, weight in state_tensors(model):
        module = name.removesuffix(".weight")
        if module in scales.weights:
            scale = held[f"{module}.weight_scale"]
            assert torch.equal(held[name].float(), quantise_reference(weight, scale).float())
            assert torch.equal(held[name].float() * scale, fake_quantise(weight, scales.weights[module])), name
        else:
            assert torch.equal(held[name], weight), name
    back = dict(state_tensors(load_quantised(saved, form="dequantised")))
    for name, tensor in state_tensors(load_quantised(saved)):
        assert torch.equal(tensor, back[name]), name


def test_the_description_is_modelopts(model, saved: Path) -> None:
    excluded = set(fp8_excluded(model.config))
    found = json.loads((saved / "config.json").read_text())["quantization_config"]
    assert found["quant_method"] == "modelopt" and found["quant_algo"] == "FP8"
    assert set(found["ignore"]) == set(found["exclude_modules"]) == excluded
    assert found["kv_cache_scheme"] == {"dynamic": False, "num_bits": 8, "type": "float"}
    assert found["config_groups"]["group_0"]["weights"]["num_bits"] == 8
    legacy = json.loads((saved / "hf_quant_config.json").read_text())["quantization"]
    assert legacy["quant_algo"] == legacy["kv_cache_quant_algo"] == "FP8"
    assert set(legacy["exclude_modules"]) == excluded


def test_without_a_quantised_cache(model, scales, tmp_path: Path, samples, logits_of, saved: Path) -> None:
    save_quantised(model, Scales(scales.weights, scales.inputs), tmp_path / "q")
    found = json.loads((tmp_path / "q/config.json").read_text())["quantization_config"]
    assert found["kv_cache_quant_algo"] is None and found["kv_cache_scheme"] is None
    assert not any(name.endswith(("k_scale", "v_scale")) for name in stored_tensors(tmp_path / "q"))
    without, with_cache = (load_quantised(path, form="emulated") for path in (tmp_path / "q", saved))
    assert not torch.equal(logits_of(without, samples), logits_of(with_cache, samples))


def test_in_shards(model, scales, saved: Path, tmp_path: Path, samples, logits_of) -> None:
    save_quantised(model, scales, tmp_path / "q", max_shard_bytes=20_000)
    assert len(list((tmp_path / "q").glob("model-*-of-*.safetensors"))) > 2
    assert torch.equal(logits_of(load_quantised(tmp_path / "q"), samples), logits_of(load_quantised(saved), samples))


def test_companions_come_along_and_nothing_else_is_replaced(model, scales, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "tokenizer.json").write_text("{}")
    save_quantised(model, scales, tmp_path / "q", source)
    assert (tmp_path / "q/tokenizer.json").read_text() == "{}"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("dear")
    with pytest.raises(FileExistsError):
        save_quantised(model, scales, tmp_path / "mine")
    assert (tmp_path / "mine/letter.txt").read_text() == "dear"


def test_transformers_and_safetensors_can_open_the_file(saved: Path) -> None:
    with safe_open(saved / "model.safetensors", "pt") as file:
        assert file.get_tensor(f"{IN_PROJ}.weight").dtype == torch.float8_e4m3fn
        assert file.get_tensor(f"{IN_PROJ}.input_scale").shape == ()


def test_everything_wrong_is_named_in_one_error(saved: Path) -> None:
    file = saved / "model.safetensors"
    held = load_file(file)
    del held[f"{IN_PROJ}.input_scale"], held["backbone.layers.1.mixer.experts.3.up_proj.weight"], held["lm_head.weight"]
    held["backbone.layers.0.mixer.out_proj.weight"] = held["backbone.layers.0.mixer.out_proj.weight"].float()
    held["backbone.layers.1.mixer.experts.0.up_proj.weight_scale"] = torch.ones(2)
    held["backbone.layers.1.mixer.experts.1.up_proj.weight"] = torch.zeros(3, 32).to(torch.float8_e4m3fn)
    held["surplus"] = torch.ones(1)
    save_file(held, file)
    with pytest.raises(ValueError, match="7 problems") as caught:
        load_quantised(saved)
    for line in (
        "lm_head.weight is missing",
        f"{IN_PROJ}.input_scale is missing",
        "experts.3.up_proj.weight is missing",
        "out_proj.weight is F32, expected F8_E4M3",
        "experts.0.up_proj.weight_scale must be one number, got [2]",
        "experts.1.up_proj.weight has shape [3, 32], expected [32, 32]",
        "surplus is not part of this model",
    ):
        assert line in str(caught.value)


def test_scales_that_cannot_be(saved: Path) -> None:
    file = saved / "model.safetensors"
    held = load_file(file)
    held[f"{IN_PROJ}.weight_scale"] = torch.tensor(float("nan"))
    save_file(held, file)
    with pytest.raises(ValueError, match="a scale must be a positive number, found nan"):
        load_quantised(saved)


def test_a_cut_file_is_named(saved: Path) -> None:
    file = saved / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="truncated"):
        load_quantised(saved)


def test_scales_stored_as_lists_of_one_and_absent_cache_scales(saved: Path, samples, logits_of) -> None:
    before = logits_of(load_quantised(saved), samples)
    file = saved / "model.safetensors"
    held = {name: t.reshape(1) if name.endswith("put_scale") else t for name, t in load_file(file).items()}
    save_file(held, file)
    assert torch.equal(logits_of(load_quantised(saved), samples), before)
    save_file({name: t for name, t in held.items() if not name.endswith(("k_scale", "v_scale"))}, file)
    layer = load_quantised(saved).layers[3].mixer.qkv_proj
    assert [float(scale) for scale in layer.cache_scales] == [1.0, 1.0], "as vLLM takes it"


def test_patterns_in_the_exclude_list(saved: Path, samples, logits_of) -> None:
    before = logits_of(load_quantised(saved), samples)
    config = json.loads((saved / "config.json").read_text())
    described = config["quantization_config"]
    described["ignore"] = ["lm_head", "backbone.layers.2.*", "backbone.layers.3.*", "*.conv1d"]
    (saved / "config.json").write_text(json.dumps(config))
    assert torch.equal(logits_of(load_quantised(saved), samples), before)


def test_a_description_in_the_older_file_alone(saved: Path, samples, logits_of) -> None:
    before = logits_of(load_quantised(saved), samples)
    config = json.loads((saved / "config.json").read_text())
    del config["quantization_config"]
    (saved / "config.json").write_text(json.dumps(config))
    assert torch.equal(logits_of(load_quantised(saved), samples), before)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"quant_algo": "NVFP4"}, "quant_algo 'NVFP4' is not supported, only modelopt FP8"),
        ({"quant_method": "fp8"}, "quant_method 'fp8'"),
        ({"kv_cache_quant_algo": "INT8"}, "kv_cache_quant_algo 'INT8' is not supported"),
        ({"ignore": "lm_head"}, "must be a list of module names, got 'lm_head'"),
    ],
)
def test_other_ways_of_quantising_are_refused(saved: Path, change: dict[str, str], told: str) -> None:
    config = json.loads((saved / "config.json").read_text())
    config["quantization_config"] |= change
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match=told):
        load_quantised(saved)


def test_a_plain_checkpoint_is_not_taken_for_a_quantised_one(model, tmp_path: Path, saved: Path) -> None:
    from model.checkpoint import save_pretrained

    save_pretrained(model, tmp_path / "plain")
    with pytest.raises(ValueError, match="is not a quantised checkpoint"):
        load_quantised(tmp_path / "plain")
    with pytest.raises(ValueError, match="quantization_config"):
        load_pretrained(saved)
    with pytest.raises(FileNotFoundError):
        load_quantised(tmp_path / "nowhere")


def test_quantised_attention_can_be_dequantised_only(model, amax, tmp_path: Path, samples, logits_of) -> None:
    from model.quantise.fake import fake_quantised
    from model.quantise.scales import scales_of

    scales = scales_of(model, amax, [f"backbone.layers.3.mixer.{letter}_proj" for letter in "qkv"], cache=False)
    save_quantised(model, scales, tmp_path / "q")
    with pytest.raises(ValueError, match="attention projections are served unquantised only"):
        load_quantised(tmp_path / "q")
    with fake_quantised(model, scales, activations=False):
        faked = logits_of(model, samples)
    torch.testing.assert_close(logits_of(load_quantised(tmp_path / "q", form="dequantised"), samples), faked)


def test_a_model_trained_fake_quantised_is_written_as_it_computes(model, scales, tmp_path, samples, logits_of) -> None:
    from model.quantise.fake import fake_quantise_model

    fake_quantise_model(model, Scales(scales.weights, scales.inputs))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    ids = torch.tensor(samples[2])
    (-model.token_logprobs(model(ids, torch.tensor([0, len(ids)])), ids)[0].mean()).backward()
    optimizer.step()
    save_quantised(model, Scales(scales.weights, scales.inputs), tmp_path / "q")
    read = load_quantised(tmp_path / "q", form="emulated")
    assert torch.equal(logits_of(read, samples), logits_of(model, samples))
