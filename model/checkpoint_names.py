"""Released names: every parameter and buffer of the model as a view in the shape it is stored in.

Inside, experts and the query/key/value projections are joined blocks and convolution taps are [K, C]; names and shapes
are translated here, at the border, by views: reading a released tensor copies nothing, writing one fills its part.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import torch
from torch import Tensor

from model.layers.attention import AttentionMixer
from model.layers.block import Block
from model.layers.mamba import MambaMixer
from model.layers.moe import MoEMixer
from model.stack import HybridModel

BIAS = "e_score_correction_bias"
# Tensors of released checkpoints that this model has no use for (multi-token prediction).
IGNORED = ("mtp.",)
_FLOATS = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


class Described(Protocol):
    """A tensor in memory or on disk."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> torch.dtype | None: ...


def state_tensors(model: HybridModel) -> Iterator[tuple[str, Tensor]]:
    """Every parameter and buffer that makes the model, as views under its released name (some not contiguous)."""
    yield "backbone.embeddings.weight", model.embeddings.weight.detach()
    for index, block in enumerate(model.blocks()):
        prefix = f"backbone.layers.{index}"
        yield f"{prefix}.norm.weight", block.norm.weight.detach()
        for name, tensor in _mixer_tensors(block):
            yield f"{prefix}.mixer.{name}", tensor.detach()
    yield "backbone.norm_f.weight", model.norm_f.weight.detach()
    yield "lm_head.weight", model.lm_head.weight.detach()


def misfits(targets: Mapping[str, Tensor], found: Mapping[str, Described]) -> list[str]:
    """One line for each tensor that is missing, unexpected, of another shape, or of a dtype that cannot be taken."""
    problems = [f"{name} is missing" for name in targets if name not in found]
    for name, tensor in found.items():
        if name.startswith(IGNORED):
            continue
        if name not in targets:
            problems.append(f"{name} is not part of this model")
            continue
        if tuple(tensor.shape) != tuple(targets[name].shape):
            problems.append(f"{name} has shape {list(tensor.shape)}, expected {list(targets[name].shape)}")
        if name.endswith(BIAS) and tensor.dtype not in (torch.float32, torch.float64):
            problems.append(f"{name} is {_said(tensor)}, expected float32 (rounding it moves the routing)")
        elif tensor.dtype not in _FLOATS:
            problems.append(f"{name} is {_said(tensor)}, expected float32, bfloat16, float16 or float64")
    return problems


def _said(tensor: Described) -> str:
    return str(tensor.dtype) if tensor.dtype is not None else str(getattr(tensor, "stored_as", "of an unknown dtype"))


def _mixer_tensors(block: Block) -> Iterator[tuple[str, Tensor]]:
    mixer = block.mixer
    if isinstance(mixer, MambaMixer):
        yield "in_proj.weight", mixer.in_proj.weight
        yield "conv1d.weight", mixer.conv1d.weight.t().unsqueeze(1)
        yield "conv1d.bias", mixer.conv1d.bias
        yield from (("A_log", mixer.A_log), ("D", mixer.D), ("dt_bias", mixer.dt_bias))
        yield "norm.weight", mixer.norm.weight
        yield "out_proj.weight", mixer.out_proj.weight
    elif isinstance(mixer, AttentionMixer):
        shape = mixer.shape
        sizes = [heads * shape.head_dim for heads in (shape.num_heads, shape.num_kv_heads, shape.num_kv_heads)]
        for name, part in zip("qkv", mixer.qkv_proj.weight.detach().split(sizes), strict=True):
            yield f"{name}_proj.weight", part
        yield "o_proj.weight", mixer.o_proj.weight
    else:
        assert isinstance(mixer, MoEMixer)
        yield "gate.weight", mixer.gate.weight
        yield f"gate.{BIAS}", mixer.gate.e_score_correction_bias
        for index in range(len(mixer.experts.up_proj)):
            yield f"experts.{index}.up_proj.weight", mixer.experts.up_proj[index]
            yield f"experts.{index}.down_proj.weight", mixer.experts.down_proj[index].t()
        yield "shared_experts.up_proj.weight", mixer.shared_experts.up_proj.weight
        yield "shared_experts.down_proj.weight", mixer.shared_experts.down_proj.weight
