"""Which part of each parameter a process holds before FSDP2 shards it further: rows of heads, of experts, of words.

Parameters are named as in `HybridModel`. A part is made of runs along a dimension, because joined projections are cut
inside each of their blocks (in_proj: z | x | B | C | dt; qkv_proj: q | k | v). Key/value heads are held several times
where there are more processes than heads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.config import HybridConfig
from model.parallel.layout import Layout


class Run(NamedTuple):
    """Positions first..last-1 of a dimension, held by `copies` processes of the tensor-parallel group."""

    first: int
    last: int
    copies: int = 1


class Cut(NamedTuple):
    """The runs along one dimension that a process holds, in its own order."""

    dim: int
    runs: tuple[Run, ...]


class Placement(NamedTuple):
    """A part of a parameter: at most one cut per dimension. copies: processes that hold the same part, without cuts."""

    cuts: tuple[Cut, ...] = ()
    copies: int = 1

    def take(self, full: Tensor) -> Tensor:
        """The part of the whole parameter, as a view where it is one run."""
        for dim, runs in self.cuts:
            parts = [full.narrow(dim, run.first, run.last - run.first) for run in runs]
            full = parts[0] if len(parts) == 1 else torch.cat(parts, dim)
        return full

    def put(self, full: Tensor, part: Tensor) -> None:
        """Write the part to where it belongs in the whole parameter."""
        if not self.cuts:
            full.copy_(part)
            return
        (dim, runs), rest = self.cuts[0], Placement(self.cuts[1:])
        offset = 0
        for run in runs:
            length = run.last - run.first
            rest.put(full.narrow(dim, run.first, length), part.narrow(dim, offset, length))
            offset += length

    def shape(self, full: Sequence[int]) -> tuple[int, ...]:
        """Shape of the part of a parameter of shape `full`."""
        sizes = list(full)
        for dim, runs in self.cuts:
            sizes[dim] = sum(run.last - run.first for run in runs)
        return tuple(sizes)

    def share_of_norm(self, rows: int, device: torch.device) -> Tensor:
        """[rows] fp64: one over the number of processes of the tensor-parallel group that hold each row of the part."""
        if not self.cuts or self.cuts[0].dim != 0:
            return torch.full((rows,), 1 / self.copies, dtype=torch.float64, device=device)
        shares = [torch.full((run.last - run.first,), 1 / run.copies) for run in self.cuts[0].runs]
        return torch.cat(shares).to(device, torch.float64)


def share(size: int, parts: int, index: int) -> tuple[int, int]:
    """Where part `index` of `size` things begins and ends; the first ones are one larger where it does not come out."""
    small, rest = divmod(size, parts)
    first = index * small + min(index, rest)
    return first, first + small + (index < rest)


def placement(name: str, config: HybridConfig, layout: Layout, tp_rank: int, ep_rank: int) -> Placement:
    """What the process of these ranks holds of the parameter `name` (as `HybridModel.named_parameters` has it)."""
    dim, blocks = _blocks(name, config)
    if name.endswith(("experts.up_proj", "experts.down_proj")):
        first, last = share(config.n_routed_experts, layout.ep, ep_rank)
        units = Run(*share(config.moe_intermediate_size, layout.tp, tp_rank))
        return Placement((Cut(0, (Run(first, last),)), Cut(1, (units,))))
    if layout.tp == 1 or not blocks:
        return Placement(copies=layout.tp)
    if name.endswith("qkv_proj.weight"):
        return Placement((Cut(0, _qkv_runs(config, layout.tp, tp_rank)),))
    runs, offset = [], 0
    for size in blocks:
        first, last = share(size, layout.tp, tp_rank)
        runs.append(Run(offset + first, offset + last))
        offset += size
    return Placement((Cut(dim, tuple(runs)),))


def _blocks(name: str, config: HybridConfig) -> tuple[int, tuple[int, ...]]:
    """The dimension that tensor parallelism cuts and the blocks that are cut evenly in it; no blocks: held whole."""
    inner, heads = config.mamba_inner_size, config.mamba_num_heads
    groups = config.n_groups * config.ssm_state_size
    rules: dict[str, tuple[int, tuple[int, ...]]] = {
        "embeddings.weight": (0, (config.vocab_size,)),
        "lm_head.weight": (0, (config.vocab_size,)),
        "mixer.in_proj.weight": (0, (inner, inner, groups, groups, heads)),
        "mixer.conv1d.weight": (1, (inner, groups, groups)),
        "mixer.conv1d.bias": (0, (inner, groups, groups)),
        "mixer.A_log": (0, (heads,)),
        "mixer.D": (0, (heads,)),
        "mixer.dt_bias": (0, (heads,)),
        "mixer.norm.weight": (0, (inner,)),
        "mixer.out_proj.weight": (1, (inner,)),
        "mixer.qkv_proj.weight": (0, (config.qkv_size,)),
        "mixer.o_proj.weight": (1, (config.num_attention_heads * config.head_dim,)),
        "shared_experts.up_proj.weight": (0, (config.moe_shared_expert_intermediate_size,)),
        "shared_experts.down_proj.weight": (1, (config.moe_shared_expert_intermediate_size,)),
    }
    return next((rule for suffix, rule in rules.items() if name.endswith(suffix)), (0, ()))


def _qkv_runs(config: HybridConfig, tp: int, tp_rank: int) -> tuple[Run, Run, Run]:
    """q rows of the own heads, then the k and v rows of the key/value heads that they read."""
    queries, kv_heads, size = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    q_first, q_last = share(queries, tp, tp_rank)
    kv_first, kv_last = share(kv_heads, tp, tp_rank) if tp <= kv_heads else (tp_rank * kv_heads // tp,) * 2
    kv_last = max(kv_last, kv_first + 1)
    copies = max(1, tp // kv_heads)
    k, v = queries * size, (queries + kv_heads) * size
    return (
        Run(q_first * size, q_last * size),
        Run(k + kv_first * size, k + kv_last * size, copies),
        Run(v + kv_first * size, v + kv_last * size, copies),
    )
