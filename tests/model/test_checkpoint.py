"""Checkpoints: released names and shapes, bit-equal round trips, errors that name everything, nothing half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from model.checkpoint import checksum, load_pretrained, load_tensors, save_pretrained, state_tensors
from model.config import HybridConfig
from model.stack import HybridModel

Build = Callable[..., HybridModel]


def test_names_and_shapes_of_the_published_model() -> None:
    tensors = dict(state_tensors(HybridModel(HybridConfig.nano(), device="meta")))
    assert len(tensors) == 6243
    shapes = {
        "backbone.embeddings.weight": (131072, 2688),
        "lm_head.weight": (131072, 2688),
        "backbone.norm_f.weight": (2688,),
        "backbone.layers.0.norm.weight": (2688,),
        "backbone.layers.0.mixer.in_proj.weight": (10304, 2688),
        "backbone.layers.0.mixer.conv1d.weight": (6144, 1, 4),
        "backbone.layers.0.mixer.conv1d.bias": (6144,),
        "backbone.layers.0.mixer.A_log": (64,),
        "backbone.layers.0.mixer.D": (64,),
        "backbone.layers.0.mixer.dt_bias": (64,),
        "backbone.layers.0.mixer.norm.weight": (4096,),
        "backbone.layers.0.mixer.out_proj.weight": (2688, 4096),
        "backbone.layers.1.mixer.gate.weight": (128, 2688),
        "backbone.layers.1.mixer.gate.e_score_correction_bias": (128,),
        "backbone.layers.1.mixer.experts.127.up_proj.weight": (1856, 2688),
        "backbone.layers.1.mixer.experts.127.down_proj.weight": (2688, 1856),
        "backbone.layers.1.mixer.shared_experts.up_proj.weight": (3712, 2688),
        "backbone.layers.1.mixer.shared_experts.down_proj.weight": (2688, 3712),
        "backbone.layers.5.mixer.q_proj.weight": (4096, 2688),
        "backbone.layers.5.mixer.k_proj.weight": (256, 2688),
        "backbone.layers.5.mixer.v_proj.weight": (256, 2688),
        "backbone.layers.5.mixer.o_proj.weight": (2688, 4096),
    }
    assert {name: tuple(tensors[name].shape) for name in shapes} == shapes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("max_shard_bytes", [10**9, 20_000])
def test_round_trip_is_bit_equal(build: Build, tmp_path: Path, dtype: torch.dtype, max_shard_bytes: int) -> None:
    model = build(dtype)
    save_pretrained(model, tmp_path / "checkpoint", max_shard_bytes=max_shard_bytes)
    loaded = load_pretrained(tmp_path / "checkpoint", dtype=dtype)
    assert loaded.config == model.config
    assert checksum(state_tensors(loaded)) == checksum(state_tensors(model))
    assert all(mixer.expert_counts.sum() == 0 for mixer in loaded.moe_layers())
    sharded = (tmp_path / "checkpoint" / "model.safetensors.index.json").exists()
    assert sharded == (max_shard_bytes == 20_000)


def test_every_parameter_and_buffer_is_carried(build: Build) -> None:
    source, target = build(seed=1), build(seed=2)
    load_tensors(target, {name: tensor.clone() for name, tensor in state_tensors(source)})
    for name, tensor in source.state_dict().items():
        assert torch.equal(tensor, target.state_dict()[name]), name


def test_loading_writes_in_place(build: Build) -> None:
    source, target = build(seed=1), build(seed=2)
    addresses = [parameter.data_ptr() for parameter in target.parameters()]
    load_tensors(target, dict(state_tensors(source)))
    assert addresses == [parameter.data_ptr() for parameter in target.parameters()]
    assert all(parameter.requires_grad for parameter in target.parameters())


def test_all_problems_are_named_and_nothing_is_written(build: Build) -> None:
    model = build()
    before = checksum(state_tensors(model))
    tensors = {name: tensor + 1 for name, tensor in state_tensors(model)}
    del tensors["backbone.norm_f.weight"]
    tensors["lm_head.weight"] = torch.zeros(3, 3)
    tensors["surprise"] = torch.zeros(1)
    bias = "backbone.layers.1.mixer.gate.e_score_correction_bias"
    tensors[bias] = tensors[bias].bfloat16()
    with pytest.raises(ValueError) as caught:
        load_tensors(model, tensors)
    message = str(caught.value)
    for part in (
        "4 problems",
        "backbone.norm_f.weight is missing",
        "lm_head.weight has shape [3, 3], expected [97, 32]",
        "surprise is not part of this model",
        f"{bias} is torch.bfloat16, expected float32",
    ):
        assert part in message
    assert checksum(state_tensors(model)) == before


def test_checksums_tell_values_dtypes_and_shapes_apart() -> None:
    zeros = torch.zeros(4)
    variants = [
        zeros,
        zeros + 1e-45,
        zeros.view(2, 2),
        torch.zeros(4, dtype=torch.int32),
        torch.tensor([0.0, 0, 0, -0.0]),
    ]
    digests = {checksum([("x", variant)])["x"] for variant in variants}
    assert len(digests) == len(variants)
    transposed = torch.arange(6.0).view(2, 3).t()
    assert checksum([("x", transposed)]) == checksum([("x", transposed.contiguous())])


def test_replacing_a_checkpoint(build: Build, tmp_path: Path) -> None:
    target = tmp_path / "runs" / "checkpoint"
    save_pretrained(build(seed=1), target, also=lambda folder: (folder / "tokenizer.json").write_text("{}") and None)
    assert (target / "tokenizer.json").exists()
    newer = build(seed=2)
    save_pretrained(newer, target)
    assert checksum(state_tensors(load_pretrained(target))) == checksum(state_tensors(newer))
    assert [path.name for path in target.parent.iterdir()] == ["checkpoint"]


def test_a_failed_save_leaves_the_old_checkpoint(build: Build, tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        raise OSError("disk full")

    target = tmp_path / "checkpoint"
    model = build(seed=1)
    save_pretrained(model, target)
    with pytest.raises(OSError, match="disk full"):
        save_pretrained(build(seed=2), target, also=fail)
    assert checksum(state_tensors(load_pretrained(target))) == checksum(state_tensors(model))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint"]


def test_other_folders_are_not_replaced(build: Build, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="not a checkpoint"):
        save_pretrained(build(), tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_broken_checkpoints_are_named(build: Build, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        load_pretrained(tmp_path)
    save_pretrained(build(), tmp_path / "whole")
    folder = tmp_path / "whole"
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match=r"model\.safetensors is not a readable"):
        load_pretrained(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="neither"):
        load_pretrained(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ValueError, match=r"config\.json is not valid JSON"):
        load_pretrained(folder)


def test_a_checkpoint_of_another_shape(build: Build, tmp_path: Path) -> None:
    save_pretrained(build(), tmp_path / "checkpoint")
    config = json.loads((tmp_path / "checkpoint" / "config.json").read_text())
    (tmp_path / "checkpoint" / "config.json").write_text(json.dumps(config | {"hidden_size": 64}))
    with pytest.raises(ValueError, match=r"expected \[97, 64\]"):
        load_pretrained(tmp_path / "checkpoint")


def test_missing_shards_are_named(build: Build, tmp_path: Path) -> None:
    save_pretrained(build(), tmp_path / "checkpoint", max_shard_bytes=20_000)
    shard = sorted((tmp_path / "checkpoint").glob("model-*.safetensors"))[1]
    shard.unlink()
    with pytest.raises(FileNotFoundError, match=shard.name):
        load_pretrained(tmp_path / "checkpoint")
