"""How large a model of a given shape is: tensors, parameters, bytes in memory, on disk and per sequence.

Closed forms over the configuration, from the tables of released checkpoints; nothing is allocated. FP8 follows the
selective rule of the Nemotron 3 Nano report (post-training quantisation): every linear layer in e4m3 but the output
head, attention, and the Mamba layers whose output an attention layer reads; convolutions, norms, the state space's own
parameters and the router keep their precision.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from model.config import ATTENTION, MAMBA, MOE, HybridConfig

FP32_BYTES, BF16_BYTES, FP8_BYTES = 4, 2, 1
_PROJECTIONS = {MAMBA: ("in_proj", "out_proj"), ATTENTION: ("q_proj", "k_proj", "v_proj", "o_proj")}


class Fp8Size(NamedTuple):
    """Parameters by the precision that selective FP8 keeps them in, and their bytes with the scales."""

    fp8: int
    bf16: int
    fp32: int
    linears: int

    @property
    def nbytes(self) -> int:
        """Each FP8 linear carries two fp32 scalars, `weight_scale` and `input_scale`."""
        scales = 2 * FP32_BYTES * self.linears
        return FP8_BYTES * self.fp8 + BF16_BYTES * self.bf16 + FP32_BYTES * self.fp32 + scales


def tensor_shapes(config: HybridConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of a released checkpoint, name and shape, in the order of the layers."""
    width = config.hidden_size
    yield "backbone.embeddings.weight", (config.vocab_size, width)
    for index, kind in enumerate(config.hybrid_override_pattern):
        prefix = f"backbone.layers.{index}"
        yield f"{prefix}.norm.weight", (width,)
        for name, shape in _MIXERS[kind](config):
            yield f"{prefix}.mixer.{name}", shape
    yield "backbone.norm_f.weight", (width,)
    yield "lm_head.weight", (config.vocab_size, width)


def fp8_excluded(config: HybridConfig) -> list[str]:
    """Module names that selective FP8 leaves alone, as `exclude_modules` lists them: 60 for the published model."""
    pattern = config.hybrid_override_pattern
    names = ["lm_head"]
    for index, kind in enumerate(pattern):
        mixer = f"backbone.layers.{index}.mixer"
        feeds_attention = ATTENTION in pattern[index + 1 : index + 2]
        if kind == ATTENTION or (kind == MAMBA and feeds_attention):
            names += [f"{mixer}.{projection}" for projection in _PROJECTIONS[kind]]
        if kind == MAMBA:
            names.append(f"{mixer}.conv1d")
    return names


def fp8_size(config: HybridConfig) -> Fp8Size:
    """Count parameters under the selective rule."""
    excluded = set(fp8_excluded(config))
    fp8 = bf16 = fp32 = linears = 0
    for name, shape in tensor_shapes(config):
        numbers, module = math.prod(shape), name.removesuffix(".weight")
        if ".gate." in name:
            fp32 += numbers
        elif module.endswith("_proj") and module not in excluded:
            fp8 += numbers
            linears += 1
        else:
            bf16 += numbers
    return Fp8Size(fp8, bf16, fp32, linears)


def checkpoint_bytes(config: HybridConfig, width: int = BF16_BYTES) -> int:
    """Bytes of the tensors of a checkpoint whose numbers take `width` bytes; selection biases are fp32."""
    numbers = {True: 0, False: 0}
    for name, shape in tensor_shapes(config):
        numbers[name.endswith("e_score_correction_bias")] += math.prod(shape)
    return width * numbers[False] + max(width, FP32_BYTES) * numbers[True]


def state_bytes(config: HybridConfig, width: int = BF16_BYTES) -> int:
    """Bytes of one sequence's Mamba states, whatever its length: fp32 states and K-1 convolution inputs per layer."""
    ssm = config.mamba_inner_size * config.ssm_state_size * max(width, FP32_BYTES)
    conv = (config.conv_kernel - 1) * config.conv_dim * width
    return len(config.layer_indices(MAMBA)) * (ssm + conv)


def kv_bytes_per_token(config: HybridConfig, width: int = BF16_BYTES) -> int:
    """Bytes of keys and values of one token over all attention layers."""
    return len(config.layer_indices(ATTENTION)) * 2 * config.num_key_value_heads * config.head_dim * width


def sequence_bytes(config: HybridConfig, length: int, width: int = BF16_BYTES) -> int:
    """What one sequence of `length` tokens carries while it is decoded."""
    return state_bytes(config, width) + length * kv_bytes_per_token(config, width)


def _mamba(config: HybridConfig) -> list[tuple[str, tuple[int, ...]]]:
    width, inner, heads = config.hidden_size, config.mamba_inner_size, (config.mamba_num_heads,)
    return [
        ("in_proj.weight", (config.in_proj_size, width)),
        ("conv1d.weight", (config.conv_dim, 1, config.conv_kernel)),
        ("conv1d.bias", (config.conv_dim,)),
        ("A_log", heads),
        ("D", heads),
        ("dt_bias", heads),
        ("norm.weight", (inner,)),
        ("out_proj.weight", (width, inner)),
    ]


def _attention(config: HybridConfig) -> list[tuple[str, tuple[int, ...]]]:
    width = config.hidden_size
    queries, keys = (heads * config.head_dim for heads in (config.num_attention_heads, config.num_key_value_heads))
    rows = {"q_proj": queries, "k_proj": keys, "v_proj": keys}
    return [*((f"{name}.weight", (row, width)) for name, row in rows.items()), ("o_proj.weight", (width, queries))]


def _moe(config: HybridConfig) -> Iterator[tuple[str, tuple[int, ...]]]:
    width = config.hidden_size
    yield "gate.weight", (config.n_routed_experts, width)
    yield "gate.e_score_correction_bias", (config.n_routed_experts,)
    units = [(f"experts.{index}", config.moe_intermediate_size) for index in range(config.n_routed_experts)]
    for name, size in (*units, ("shared_experts", config.moe_shared_expert_intermediate_size)):
        yield f"{name}.up_proj.weight", (size, width)
        yield f"{name}.down_proj.weight", (width, size)


_MIXERS = {MAMBA: _mamba, ATTENTION: _attention, MOE: _moe}
