"""Checkpoints: released names and shapes, bit-equal round trips, errors that name everything, nothing half-written."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from model.cache import StateCache
from model.checkpoint import (
    checksum,
    load_pretrained,
    load_tensors,
    save_pretrained,
    state_tensors,
    stored_tensors,
)
from model.checkpoint_file import read_header
from model.config import HybridConfig
from model.stack import HybridModel

Build = Callable[..., HybridModel]
Pack = Callable[..., tuple[Tensor, Tensor]]
ROOT = Path(__file__).resolve().parent.parent.parent


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


def test_a_cut_shard_names_each_tensor_beyond_its_end_beside_all_else(build: Build, tmp_path: Path) -> None:
    """Truncated, missing, extra and misshapen tensors and a narrow bias, all in one error."""
    model = build()
    save_pretrained(model, tmp_path / "whole")
    tensors = load_file(tmp_path / "whole" / "model.safetensors")
    bias = "backbone.layers.1.mixer.gate.e_score_correction_bias"
    tensors[bias] = tensors[bias].bfloat16()
    tensors["lm_head.weight"] = torch.zeros(3, 3)
    tensors["surprise"] = torch.zeros(1)
    tensors["backbone.layers.0.mixer.D"] = torch.zeros(4, dtype=torch.int64)
    del tensors["backbone.norm_f.weight"]
    file = tmp_path / "whole" / "model.safetensors"
    save_file(tensors, file)
    last = max(read_header(file).items(), key=lambda item: item[1].start)[0]
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError) as caught:
        load_pretrained(tmp_path / "whole")
    for part in (
        "7 problems",
        "backbone.norm_f.weight is missing",
        "lm_head.weight has shape [3, 3], expected [97, 32]",
        "surprise is not part of this model",
        f"{bias} is torch.bfloat16, expected float32",
        "backbone.layers.0.mixer.D is torch.int64, expected",
        "model.safetensors is not a readable safetensors file to its end",
        f"{last} is truncated",
    ):
        assert part in str(caught.value), part


def test_multi_token_prediction_is_left_aside(build: Build, tmp_path: Path) -> None:
    model = build()
    save_pretrained(model, tmp_path / "checkpoint")
    file, config = tmp_path / "checkpoint" / "model.safetensors", tmp_path / "checkpoint" / "config.json"
    save_file(load_file(file) | {"mtp.layers.0.norm.weight": torch.ones(32)}, file)
    config.write_text(json.dumps(json.loads(config.read_text()) | {"num_nextn_predict_layers": 1}))
    assert checksum(state_tensors(load_pretrained(tmp_path / "checkpoint"))) == checksum(state_tensors(model))


def released(model: HybridModel, folder: Path, dtypes: dict[str, torch.dtype], per_shard: int = 40) -> None:
    """A checkpoint as it is released: written by the library, shards and index, a dtype per tensor by name ending."""
    tensors = {}
    for name, tensor in state_tensors(model):
        dtype = next((dtype for ending, dtype in dtypes.items() if name.endswith(ending)), torch.bfloat16)
        tensors[name] = tensor.to(dtype).clone().contiguous()
    names = sorted(tensors)
    runs = [names[first : first + per_shard] for first in range(0, len(names), per_shard)]
    weight_map = {}
    folder.mkdir()
    for number, run in enumerate(runs, 1):
        file = f"model-{number:05d}-of-{len(runs):05d}.safetensors"
        save_file({name: tensors[name] for name in run}, folder / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(run, file)
    size = sum(tensor.nbytes for tensor in tensors.values())
    index = {"metadata": {"total_size": size}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    extra = {"expand": 2, "rope_theta": 10000, "partial_rotary_factor": 1.0, "auto_map": {}, "norm_eps": 1e-5}
    (folder / "config.json").write_text(json.dumps(model.config.to_hf() | extra))


WIDE = {
    "gate.weight": torch.float32,
    "e_score_correction_bias": torch.float32,
    "A_log": torch.float32,
    ".D": torch.float32,
    "norm_f.weight": torch.float32,
}


def test_a_released_checkpoint_keeps_each_dtype(build: Build, pack: Pack, tmp_path: Path) -> None:
    model = build()
    released(model, tmp_path / "released", WIDE)
    loaded = load_pretrained(tmp_path / "released", dtype=None)
    assert loaded.dtype == torch.bfloat16
    found = stored_tensors(tmp_path / "released")
    tensors = dict(state_tensors(loaded))
    assert {name: tensor.dtype for name, tensor in tensors.items()} == {name: found[name].dtype for name in tensors}
    assert loaded.layers[1].mixer.gate.weight.dtype == torch.float32
    # What is read is what was stored, and written again it is the same to the bit.
    original = {name: tensor.to(found[name].dtype) for name, tensor in state_tensors(model)}
    assert checksum(tensors.items()) == checksum(original.items())
    save_pretrained(loaded, tmp_path / "again", max_shard_bytes=20_000)
    again = load_pretrained(tmp_path / "again", dtype=None)
    assert checksum(state_tensors(again)) == checksum(tensors.items())
    # Mixed dtypes work in training and in decoding.
    token_ids, bounds = pack([9, 4])
    last = loaded.logits(loaded(token_ids, bounds))[bounds[1:] - 1]
    cache = StateCache(loaded.config, 2, 16, dtype=torch.bfloat16)
    loaded.prefill(token_ids[:-1], torch.tensor([0, 9, 12]), cache, [0, 1])
    decoded = loaded.decode(token_ids[-1:], cache, [1])
    assert (decoded[0] - last[1]).abs().max() < 0.05 * last.abs().max()


def test_a_released_checkpoint_in_a_dtype_of_choice(build: Build, tmp_path: Path) -> None:
    model = build()
    released(model, tmp_path / "released", WIDE)
    for dtype in (torch.float32, torch.bfloat16, torch.float64):
        loaded = load_pretrained(tmp_path / "released", dtype=dtype)
        for name, tensor in state_tensors(loaded):
            bias = name.endswith("e_score_correction_bias")
            assert tensor.dtype == (torch.float32 if bias else dtype), name


def test_a_narrow_bias_is_refused_wherever_it_comes_from(build: Build, tmp_path: Path) -> None:
    released(build(), tmp_path / "released", WIDE | {"e_score_correction_bias": torch.bfloat16})
    with pytest.raises(ValueError, match=r"3 problems:[^$]*e_score_correction_bias is torch\.bfloat16"):
        load_pretrained(tmp_path / "released", dtype=None)


def test_an_index_that_disagrees_with_its_shards(build: Build, tmp_path: Path) -> None:
    released(build(), tmp_path / "released", WIDE)
    index = tmp_path / "released" / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    names = sorted(content["weight_map"])
    first, last = content["weight_map"][names[0]], content["weight_map"][names[-1]]
    content["weight_map"][names[0]] = last
    index.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=f"{names[0]} lies in {first}, the index places it in {last}"):
        load_pretrained(tmp_path / "released")
    content["weight_map"][names[0]] = "../elsewhere.safetensors"
    index.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="shards outside its folder"):
        load_pretrained(tmp_path / "released")


def test_every_unreadable_shard_is_named(build: Build, tmp_path: Path) -> None:
    released(build(), tmp_path / "released", WIDE)
    broken = sorted((tmp_path / "released").glob("*.safetensors"))[:2]
    for file in broken:
        file.write_bytes(b"nothing")
    with pytest.raises(ValueError) as caught:
        load_pretrained(tmp_path / "released")
    assert all(f"{file} is not a readable" in str(caught.value) for file in broken)


STREAMED = """
import resource, sys
from dataclasses import replace
import torch
from model.checkpoint import load_pretrained, save_pretrained, state_tensors
from model.config import HybridConfig
from model.stack import HybridModel

def peak(): return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

small = HybridConfig.tiny(97)
save_pretrained(HybridModel(small), sys.argv[1] + "/warm")
load_pretrained(sys.argv[1] + "/warm")
shape = dict(hidden_size=512, moe_intermediate_size=1024, n_routed_experts=24, hybrid_override_pattern="ME*E")
model = HybridModel(replace(small, **shape), device="meta", dtype=torch.bfloat16).to_empty(device="cpu")
for tensor in model.state_dict().values():
    tensor.fill_(1)
size = sum(tensor.nbytes for _, tensor in state_tensors(model))
before = peak()
save_pretrained(model, sys.argv[1] + "/large", max_shard_bytes=size // 3)
saved = peak()
loaded = load_pretrained(sys.argv[1] + "/large", dtype=torch.bfloat16)
print(size, saved - before, peak() - saved)
"""


def test_saving_and_loading_hold_no_second_copy(tmp_path: Path) -> None:
    shown = subprocess.run(
        [sys.executable, "-c", STREAMED, str(tmp_path)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    size, grown_by_save, grown_by_load = map(int, shown.stdout.split())
    assert size > 100_000_000
    assert grown_by_save < 24 << 20
    assert grown_by_load < size + (24 << 20)
