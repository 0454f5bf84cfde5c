"""What one process of a layout holds, computed on the meta device from the placements that training uses.

python -m model.parallel.memory            the table of docs/parallelism.md, for Nano
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch

from model.config import MAMBA, HybridConfig
from model.parallel.layout import Layout
from model.parallel.placement import placement
from model.stack import HybridModel

GIB = 1 << 30
# fp32 parameters and gradients, two moments of AdamW; computed in bf16 (MixedPrecisionPolicy(bf16, fp32)).
_WEIGHT, _GRADIENT, _OPTIMISER, _COMPUTE = 4, 4, 8, 2
# Of the largest FSDP2 unit, in bf16 sizes: two are gathered (prefetching), one gradient, and that again in fp32.
_UNITS_IN_PASSING = 5


class Memory(NamedTuple):
    """Bytes on the process that holds the most."""

    parameters: int  # numbers, not bytes
    weights: int
    gradients: int
    optimiser: int
    layer_inputs: int  # one per layer and token: what is kept when every layer is computed again
    one_layer: int  # inside an MoE layer: rows sent, received, computed, returned, and two sizes of hidden units
    in_passing: int  # whole parameters and gradients of the units at work

    @property
    def total(self) -> int:
        return sum(self[1:])


def memory(config: HybridConfig, layout: Layout, tokens: int) -> Memory:
    """tokens: packed on one data-parallel replica at a time, evenly spread over experts.

    Raises ValueError when the layout does not fit.
    """
    layout.require(config)
    units: dict[str, int] = {}
    held = 0
    for name, parameter in HybridModel(config, device="meta", dtype=torch.bfloat16).named_parameters():
        part = math.prod(placement(name, config, layout, 0, 0).shape(parameter.shape))
        is_expert = ".experts." in name
        held += -(-part // (layout.edp if is_expert else layout.token_ranks))
        unit = ".".join(name.split(".")[:2]) + (".experts" if is_expert else "")
        units[unit] = units.get(unit, 0) + part
    own = -(-tokens // layout.cp)
    inputs = _COMPUTE * config.num_hidden_layers * config.hidden_size * own
    row = 4 * config.hidden_size + 2 * config.moe_intermediate_size // layout.tp
    one_layer = _COMPUTE * own * config.num_experts_per_tok * row
    in_passing = _UNITS_IN_PASSING * _COMPUTE * max(units.values())
    return Memory(held, held * _WEIGHT, held * _GRADIENT, held * _OPTIMISER, inputs, one_layer, in_passing)


def traffic(config: HybridConfig, layout: Layout) -> dict[str, int]:
    """Bytes that one process sends per layer and pass forward: what context and expert parallelism cost in bf16.

    state: per Mamba layer, whatever the length. kv, rows: per attention and MoE layer, for each token of its stretch.
    """
    states = 4 * config.mamba_inner_size * config.ssm_state_size // layout.tp
    halo = 2 * (config.conv_kernel - 1) * config.conv_dim // layout.tp
    kv = 4 * config.head_dim * max(1, config.num_key_value_heads // layout.tp)
    rows = 2 * 2 * config.num_experts_per_tok * config.hidden_size * (layout.ep - 1) // layout.ep
    has_states = layout.cp > 1 and MAMBA in config.hybrid_override_pattern
    return {"state": (states + halo) * has_states, "kv": kv * (layout.cp > 1), "rows": rows}


_NANO_LAYOUTS = (
    Layout(dp=8, ep=8),
    Layout(dp=4, ep=4, tp=2),
    Layout(dp=16, ep=8),
    Layout(dp=32, ep=8),
    Layout(dp=8, ep=8, cp=4),
    Layout(dp=16, ep=8, tp=2),
    Layout(dp=64, ep=8),
    Layout(dp=8, ep=8, tp=2, cp=4),
    Layout(dp=128, ep=8),
    Layout(dp=256, ep=8),
    Layout(dp=32, ep=8, tp=2, cp=4),
)


def table(tokens: int) -> str:
    """One line of Markdown per layout of Nano: GiB on the process that holds the most."""
    lines = [
        "| GPUs | layout | parameters | weights | gradients | optimiser | inputs | one layer | in passing | total |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for layout in _NANO_LAYOUTS:
        found = memory(HybridConfig.nano(), layout, tokens)
        cells = " | ".join(f"{size / GIB:.1f}" for size in (*found[1:], found.total))
        lines.append(f"| {layout.world} | {layout} | {found.parameters / 1e9:.2f} B | {cells} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(49152))
