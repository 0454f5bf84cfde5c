"""Whole layers through their compiled forms, where those serve.

One call is then x + mixer(norm(x)), so the layer must be exactly what this package builds: no other module in a place
of ours (quantised, sharded), nobody listening to a part, one dtype, a CPU, matrices that a cache holds. Anything else
is computed step by step, to the same numbers up to rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from model.kernels.native.attention import LONGEST, AttentionWeights, attention_layer, attention_layer_projected
from model.kernels.native.decode import NativeDecode
from model.kernels.native.library import library
from model.kernels.native.mamba import MOST_TAPS, MambaWeights, mamba_layer, mamba_layer_from
from model.kernels.native.moe import MoERule, MoEWeights, moe_layer
from model.kernels.native.stack import Layer, Reading, read_layers, stack_layers
from model.layers.attention import AttentionMixer
from model.layers.linear import Linear, RMSNorm
from model.layers.mamba import DepthwiseConv, MambaMixer, MambaState
from model.layers.moe import Experts, MoEMixer, Router, SharedExpert
from model.layout import PackedLayout

if TYPE_CHECKING:
    from model.layers.block import Block

# Numbers of the largest matrix, and of all experts of a layer together: beyond, the library's blocked products win.
MOST_NUMBERS, MOST_IN_ALL = 1 << 19, 1 << 22
_PARTS = {MambaMixer, AttentionMixer, MoEMixer, Linear, RMSNorm, DepthwiseConv, Router, Experts, SharedExpert}


def takes(x: Tensor, norm: nn.Module, mixer: nn.Module, layout: PackedLayout | None) -> bool:
    """Whether the compiled form of x + mixer(norm(x)) serves for x [T, D]; layout may be None for experts."""
    if x.device.type != "cpu" or x.dim() != 2 or not len(x) or library(x.dtype) is None:
        return False
    if torch.is_autocast_enabled("cpu") or torch.compiler.is_compiling():
        return False
    if isinstance(mixer, AttentionMixer) and (layout is None or int(layout.lengths.max()) > LONGEST):
        return False
    if isinstance(mixer, MoEMixer) and mixer.control.balance is not None:
        return False
    return _ours(norm, x.dtype) and _ours(mixer, x.dtype)


def forward(
    x: Tensor, norm: RMSNorm, mixer: nn.Module, eps: float, layout: PackedLayout, counted: Tensor | None = None
) -> Tensor:
    """x [T, D] -> x + mixer(norm(x)), for a layer that `takes` said yes to."""
    if isinstance(mixer, MambaMixer):
        return mamba_layer(x, mamba_weights(norm, mixer), mixer.shape, eps, layout)
    if isinstance(mixer, AttentionMixer):
        return attention_layer(x, attention_weights(norm, mixer), mixer.shape, eps, layout)
    assert isinstance(mixer, MoEMixer)
    recorded = mixer.recorded_for(x)
    out, experts = moe_layer(x, moe_weights(norm, mixer), moe_rule(mixer, eps), recorded, layout.token_parts)
    mixer.note(experts, counted)
    return out


def takes_all(x: Tensor, blocks: Sequence[Block], layout: PackedLayout) -> bool:
    """Whether all these layers can be one call, in which none of them is called itself."""
    return bool(blocks) and all(not _observed(block) and takes(x, block.norm, block.mixer, layout) for block in blocks)


def forward_all(x: Tensor, blocks: Sequence[Block], layout: PackedLayout, counted: Tensor | None) -> Tensor:
    """x [T, D] through layers that `takes_all` said yes to."""
    experts_of, recorded = _experts_of(blocks, x)
    out, experts = stack_layers(x, [_layer(block, stored=False) for block in blocks], layout, recorded)
    for mixer, chosen in zip(experts_of, experts, strict=True):
        mixer.note(chosen, counted)
    return out


def read_all(
    x: Tensor, blocks: Sequence[Block], layout: PackedLayout, before: tuple[Tensor, Tensor] | None
) -> tuple[Reading, list[tuple[Tensor, Tensor]]]:
    """As `forward_all` from states conv and ssm of every Mamba layer; and keys and values of every attention layer."""
    experts_of, recorded = _experts_of(blocks, x)
    reading = read_layers(x, [_layer(block, stored=False) for block in blocks], layout, recorded, before)
    for mixer, chosen in zip(experts_of, reading.experts, strict=True):
        mixer.note(chosen, None)
    shapes = [block.mixer.shape for block in blocks if isinstance(block.mixer, AttentionMixer)]
    split = [shape.split(qkv) for shape, qkv in zip(shapes, reading.projected, strict=True)]
    return reading, [(keys, values) for _, keys, values in split]


def _experts_of(blocks: Sequence[Block], x: Tensor) -> tuple[list[MoEMixer], list[Tensor | None]]:
    """The mixers with experts, and what each is to replay."""
    mixers = [block.mixer for block in blocks if isinstance(block.mixer, MoEMixer)]
    return mixers, [mixer.recorded_for(x) for mixer in mixers]


def prefill_mamba(
    x: Tensor, norm: RMSNorm, mixer: MambaMixer, eps: float, layout: PackedLayout, state: MambaState | None
) -> tuple[Tensor, MambaState]:
    """x [T, D] -> x + mixer(norm(x)) going on from `state` (None: from nothing), and the state at each end."""
    conv, ssm = (None, None) if state is None else state
    out, *final = mamba_layer_from(x, mamba_weights(norm, mixer), mixer.shape, eps, layout, conv, ssm)
    return out, MambaState(*final)


def prefill_attention(
    x: Tensor, norm: RMSNorm, mixer: AttentionMixer, eps: float, layout: PackedLayout
) -> tuple[Tensor, Tensor, Tensor]:
    """x [T, D] -> x + mixer(norm(x)) of whole sequences, their keys and values [T, Hkv, dh]."""
    out, qkv = attention_layer_projected(x, attention_weights(norm, mixer), mixer.shape, eps, layout)
    _, keys, values = mixer.shape.split(qkv)
    return out, keys, values


def decode_plan(
    embeddings: Linear, blocks: Sequence[Block], norm_f: RMSNorm, eps: float, lm_head: Linear
) -> NativeDecode | None:
    """The compiled step of a whole stack, or None where a part of it is not for the compiled forms."""
    dtype = embeddings.weight.dtype
    ends = embeddings.weight, norm_f.weight, lm_head.weight
    if library(dtype) is None or not all(_readable(end, dtype, limit=None) for end in ends):
        return None
    if not all(_ours(part, dtype) for block in blocks for part in (block.norm, block.mixer)):
        return None
    return NativeDecode(
        embeddings.weight, [_layer(block, stored=True) for block in blocks], norm_f.weight, eps, lm_head.weight
    )


def _layer(block: Block, stored: bool) -> Layer:
    mixer = block.mixer
    if isinstance(mixer, MambaMixer):
        return mamba_weights(block.norm, mixer, stored), mixer.shape, block.eps
    if isinstance(mixer, AttentionMixer):
        return attention_weights(block.norm, mixer, stored), mixer.shape, block.eps
    assert isinstance(mixer, MoEMixer)
    return moe_weights(block.norm, mixer, stored), moe_rule(mixer, block.eps)


def mamba_weights(norm: RMSNorm, mixer: MambaMixer, stored: bool = False) -> MambaWeights:
    """stored: the parameters as they are, also where a layer rounds them before it multiplies."""
    conv, heads = mixer.conv1d, (mixer.dt_bias, mixer.A_log, mixer.D)
    in_proj, out_proj = (_weight(part, stored) for part in (mixer.in_proj, mixer.out_proj))
    return MambaWeights(norm.weight, in_proj, conv.weight, conv.bias, *heads, mixer.norm.weight, out_proj)


def attention_weights(norm: RMSNorm, mixer: AttentionMixer, stored: bool = False) -> AttentionWeights:
    return AttentionWeights(norm.weight, *(_weight(part, stored) for part in (mixer.qkv_proj, mixer.o_proj)))


def moe_weights(norm: RMSNorm, mixer: MoEMixer, stored: bool = False) -> MoEWeights:
    experts, shared = mixer.experts, mixer.shared_experts
    routed = experts.up_proj, experts.down_proj
    if not stored and type(experts) is not Experts:
        routed = experts.whole_weights()  # type: ignore[operator]  # of a wrapper, see `_ours`
    return MoEWeights(
        norm.weight, mixer.gate.weight, *routed, *(_weight(part, stored) for part in (shared.up_proj, shared.down_proj))
    )


def _weight(linear: Linear, stored: bool) -> Tensor:
    if stored or type(linear) is Linear:
        return linear.weight
    weight: Tensor = linear.whole_weight()  # type: ignore[operator]  # of a wrapper, see `_ours`
    return weight


def moe_rule(mixer: MoEMixer, eps: float) -> MoERule:
    return MoERule(mixer.gate.e_score_correction_bias, mixer.top_k, mixer.scale, mixer.normalise, eps)


def _ours(module: nn.Module, dtype: torch.dtype) -> bool:
    """Whether a module and all within it are of this package, unobserved, and hold what the compiled forms read."""
    if (type(module) not in _PARTS and not _wraps(module)) or _observed(module):
        return False
    if isinstance(module, DepthwiseConv) and len(module.weight) > MOST_TAPS:
        return False
    weights = all(_readable(weight, dtype) for weight in module._parameters.values())
    return weights and all(_ours(part, dtype) for part in module._modules.values() if part is not None)


def _wraps(module: nn.Module) -> bool:
    """Whether a module of another class says of itself, not of its base, what plain weight it stands for."""
    for name in ("whole_weight", "whole_weights"):
        if name in type(module).__dict__:
            return getattr(module, name)() is not None
    return False


def _observed(module: nn.Module) -> bool:
    """Whether somebody listens to this module, who would not be called."""
    hooks = (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks)
    return any(hooks) or "forward" in module.__dict__


def _readable(weight: Tensor | None, dtype: torch.dtype, limit: int | None = MOST_NUMBERS) -> bool:
    if type(weight) is not nn.Parameter or weight.dtype != dtype or weight.device.type != "cpu":
        return False
    few = limit is None or (weight.shape[-2:].numel() <= limit and weight.numel() <= MOST_IN_ALL)
    return few and weight.is_contiguous()
