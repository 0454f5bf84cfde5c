"""Sizes: the published table of tensors, parameters, FP8 bytes and memory, and how they move with the shape."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from model.cache import StateCache
from model.checkpoint import state_tensors
from model.config import HybridConfig
from model.counting import (
    checkpoint_bytes,
    fp8_excluded,
    fp8_size,
    kv_bytes_per_token,
    sequence_bytes,
    state_bytes,
    tensor_shapes,
)
from model.stack import HybridModel

# The published table, written out by hand; nothing below it is computed by the code under test.
ATTENTION_LAYERS = (5, 12, 19, 26, 33, 42)
MAMBA_LAYERS = (0, 2, 4, 7, 9, 11, 14, 16, 18, 21, 23, 25, 28, 30, 32, 35, 37, 39, 41, 44, 46, 48, 50)
MOE_LAYERS = (1, 3, 6, 8, 10, 13, 15, 17, 20, 22, 24, 27, 29, 31, 34, 36, 38, 40, 43, 45, 47, 49, 51)
FEEDING_ATTENTION = (4, 11, 18, 25, 32, 41)
MAMBA_TABLE = {
    "in_proj.weight": (10304, 2688),
    "conv1d.weight": (6144, 1, 4),
    "conv1d.bias": (6144,),
    "A_log": (64,),
    "D": (64,),
    "dt_bias": (64,),
    "norm.weight": (4096,),
    "out_proj.weight": (2688, 4096),
}
ATTENTION_TABLE = {
    "q_proj.weight": (4096, 2688),
    "k_proj.weight": (256, 2688),
    "v_proj.weight": (256, 2688),
    "o_proj.weight": (2688, 4096),
}
MOE_TABLE = {
    "gate.weight": (128, 2688),
    "gate.e_score_correction_bias": (128,),
    **{f"experts.{e}.up_proj.weight": (1856, 2688) for e in range(128)},
    **{f"experts.{e}.down_proj.weight": (2688, 1856) for e in range(128)},
    "shared_experts.up_proj.weight": (3712, 2688),
    "shared_experts.down_proj.weight": (2688, 3712),
}


def published() -> dict[str, tuple[int, ...]]:
    table: dict[str, tuple[int, ...]] = {
        "backbone.embeddings.weight": (131072, 2688),
        "lm_head.weight": (131072, 2688),
        "backbone.norm_f.weight": (2688,),
    }
    for layers, mixer in ((MAMBA_LAYERS, MAMBA_TABLE), (ATTENTION_LAYERS, ATTENTION_TABLE), (MOE_LAYERS, MOE_TABLE)):
        for layer in layers:
            table[f"backbone.layers.{layer}.norm.weight"] = (2688,)
            table |= {f"backbone.layers.{layer}.mixer.{name}": shape for name, shape in mixer.items()}
    return table


def test_every_tensor_of_the_published_model() -> None:
    table = published()
    assert len(table) == 6243 == 3 + 52 + 23 * 8 + 6 * 4 + 23 * 260
    tensors = dict(state_tensors(HybridModel(HybridConfig.nano(), device="meta", dtype=torch.bfloat16)))
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == table
    assert dict(tensor_shapes(HybridConfig.nano())) == table
    for name, tensor in tensors.items():
        assert tensor.dtype == (torch.float32 if name.endswith("e_score_correction_bias") else torch.bfloat16), name


def test_parameters_of_the_published_model_to_the_last_one() -> None:
    total, active, active_with_embeddings = HybridConfig.nano().count_parameters()
    mamba, moe, attention, embedding = 38_744_896, 1_297_468_160, 23_399_040, 352_321_536
    biases = 23 * 128  # the published figure per MoE layer counts them
    assert total == 23 * mamba + 23 * moe + 6 * attention + 2 * embedding + 2688 - biases == 31_577_937_344
    assert active == total - embedding - 23 * (128 - 6) * 9_977_856 == 3_227_751_872
    assert active_with_embeddings == active + embedding == 3_580_073_408


@pytest.mark.parametrize("experts", [16, 64, 127, 256])
def test_experts_move_the_counts_as_the_closed_form_says(experts: int) -> None:
    nano = HybridConfig.nano()
    config = replace(nano, n_routed_experts=experts)
    counts, published_counts = config.count_parameters(), nano.count_parameters()
    more = experts - 128
    gate = 23 * more * 2688
    assert counts.total - published_counts.total == 23 * more * 9_977_856 + gate
    assert counts.active - published_counts.active == gate
    model = HybridModel(config, device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == counts.total
    assert len(dict(tensor_shapes(config))) == 6243 + 23 * 2 * more
    assert fp8_size(config).fp8 - fp8_size(nano).fp8 == 23 * more * 9_977_856
    assert fp8_size(config).nbytes - fp8_size(nano).nbytes == 23 * more * (9_977_856 + 2 * 8) + 4 * (gate + 23 * more)


def test_sixty_modules_stay_out_of_fp8() -> None:
    expected = {"lm_head"}
    expected |= {f"backbone.layers.{i}.mixer.{p}_proj" for i in FEEDING_ATTENTION for p in ("in", "out")}
    expected |= {f"backbone.layers.{i}.mixer.{p}_proj" for i in ATTENTION_LAYERS for p in "qkvo"}
    expected |= {f"backbone.layers.{i}.mixer.conv1d" for i in MAMBA_LAYERS}
    names = fp8_excluded(HybridConfig.nano())
    assert len(names) == 60 and set(names) == expected


def test_fp8_size_of_the_published_model() -> None:
    size = fp8_size(HybridConfig.nano())
    linears = 23 * 2 * 129 + (23 - 6) * 2
    assert size.linears == linears == 5968
    assert size.fp8 == 23 * 129 * 9_977_856 + 23 * 9_977_856 + 17 * (10304 + 4096) * 2688
    assert (round(size.fp8 / 1e9, 3), round(size.bf16 / 1e9, 3), round(size.fp32 / 1e6, 1)) == (30.492, 1.078, 7.9)
    assert round(size.nbytes / 1e9, 2) == 32.68
    assert size.fp8 + size.bf16 + size.fp32 == sum(math.prod(shape) for shape in published().values())


def test_a_pattern_without_attention_quantises_every_mamba_layer() -> None:
    config = HybridConfig.tiny(320, hybrid_override_pattern="MEM")
    assert set(fp8_excluded(config)) == {"lm_head", "backbone.layers.0.mixer.conv1d", "backbone.layers.2.mixer.conv1d"}


def test_memory_of_a_sequence_of_the_published_model() -> None:
    nano = HybridConfig.nano()
    assert state_bytes(nano) == 23 * (2 * 2**20 + 36 * 2**10)
    assert round(state_bytes(nano) / 2**20, 1) == 46.8
    assert kv_bytes_per_token(nano) == 6144 and kv_bytes_per_token(nano, width=1) == 3072
    assert round(sequence_bytes(nano, 2**20) / 2**30, 2) == 6.05


@pytest.mark.parametrize("length", [64, 8192, 2**20])
def test_the_cache_takes_what_is_counted(length: int) -> None:
    nano = HybridConfig.nano()
    cache = StateCache(nano, 3, length, device="meta", dtype=torch.bfloat16)
    cache.reserve(length)
    lengths = 3 * 8
    assert cache.nbytes == 3 * sequence_bytes(nano, length) + lengths


def test_bytes_of_a_checkpoint() -> None:
    nano = HybridConfig.nano()
    assert checkpoint_bytes(nano) == 2 * 31_577_937_344 + 4 * 23 * 128
    assert checkpoint_bytes(nano, width=4) == 4 * (31_577_937_344 + 2944)
