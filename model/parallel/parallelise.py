"""From a model to its share in a layout: structure on the meta device, FSDP2 around each part, then numbers into place.

FSDP2 (torch.distributed.fsdp.fully_shard) shards parameters, gradients and optimiser state over the token ranks, one
unit per block; the experts of a block are a unit of their own, over the ranks that hold copies of them. Gradients are
summed, never averaged: the loss carries the one normaliser of the global batch already.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from model.config import HybridConfig
from model.parallel.experts import ExpertShard
from model.parallel.ranks import Ranks
from model.parallel.sharded_model import ShardedModel
from model.stack import HybridModel

ONE_DTYPE = MixedPrecisionPolicy()


def parallelise(model: HybridModel, ranks: Ranks, policy: MixedPrecisionPolicy = ONE_DTYPE) -> ShardedModel:
    """This process's share of `model` (the same on every process, on any device), which is left as it is.

    policy: FSDP2's; param_dtype is what is computed in (fp32 parameters, bf16 maths), reduce_dtype what gradients are
    added up in. Raises ValueError when the layout does not divide the model.
    """
    sharded = empty_share(model.config, ranks, model.dtype, policy)
    with torch.no_grad():
        for name, full in model.named_parameters():
            fill(sharded, name, full)
        for ours, theirs in zip(sharded.moe_layers(), model.moe_layers(), strict=True):
            ours.gate.e_score_correction_bias.copy_(theirs.gate.e_score_correction_bias)
    return sharded


def empty_share(
    config: HybridConfig, ranks: Ranks, dtype: torch.dtype, policy: MixedPrecisionPolicy = ONE_DTYPE
) -> ShardedModel:
    """The share of one process, sharded and in memory, its numbers still to be filled in; expert counts are zero."""
    model = ShardedModel(config, ranks, dtype)
    # Inputs keep their dtype: routing weights are fp32 on purpose.
    policy = replace(policy, cast_forward_inputs=False)
    for block in model.blocks():
        for part in block.modules():
            if isinstance(part, ExpertShard):
                _shard(part, ranks.edp, policy, _even_dimension(ranks.edp.size()))
        _shard(block, ranks.tokens, policy)
    for part in (model.embeddings, model.lm_head):
        _shard(part, ranks.tokens, policy)
    _shard(model, ranks.tokens, policy)
    model.to_empty(device=ranks.device)
    with torch.no_grad():
        for mixer in model.moe_layers():
            mixer.expert_counts.zero_()
            mixer.gate.e_score_correction_bias.zero_()
    return model


def fill(model: ShardedModel, name: str, full: Tensor) -> None:
    """Write this process's part of a whole parameter into its place, converting dtype and device."""
    fill_like(model, name, full, model.get_parameter(name))


@torch.no_grad()
def fill_like(model: ShardedModel, name: str, full: Tensor, parameter: Tensor) -> None:
    """As `fill`, into a tensor that is laid out as the parameter of this name is, such as a moment of it."""
    part = model.placement(name).take(full)
    if isinstance(parameter, DTensor):
        (where,) = parameter.placements
        assert isinstance(where, Shard)
        pieces = part.chunk(parameter.device_mesh.size(), where.dim)
        rank = parameter.device_mesh.get_local_rank()
        local = parameter.to_local()
        if rank < len(pieces):  # the last processes of a short dimension hold nothing
            local.copy_(pieces[rank])
        return
    parameter.copy_(part)


def gather_parameters(
    model: ShardedModel, select: Callable[[nn.Parameter], Tensor | None] = lambda parameter: parameter
) -> dict[str, Tensor]:
    """Whole parameters by name on process 0's CPU, one after the other; {} on all others, which must call it too.

    select: the tensor of a parameter to gather, such as its gradient (None everywhere: left out).
    """
    full = {}
    whole = dict(_whole_shapes(model.config))
    for name, parameter in model.named_parameters():
        chosen = select(parameter)
        if chosen is None:
            continue
        result = torch.empty(whole[name], dtype=chosen.dtype) if dist.get_rank() == 0 else None
        gather_into(model, name, chosen, result)
        if result is not None:
            full[name] = result
    return full


def gather_into(model: ShardedModel, name: str, chosen: Tensor, result: Tensor | None) -> None:
    """One parameter, or what is laid out like it, into `result` on process 0 (None on the others, which call it too).

    No process holds more than its part of it whole, and process 0 one other's besides.
    """
    layout, chosen = model.ranks.layout, chosen.detach()
    part = (chosen.full_tensor() if isinstance(chosen, DTensor) else chosen).contiguous()
    for ep_rank in range(layout.ep) if ".experts." in name else range(1):
        for tp_rank in range(layout.tp if model.placement(name).cuts else 1):
            _collect(model, name, part, ep_rank, tp_rank, result)


def _collect(model: ShardedModel, name: str, part: Tensor, ep_rank: int, tp_rank: int, result: Tensor | None) -> None:
    """The part of one process travels to process 0, which puts it into `result`."""
    source, me = model.ranks.rank_of(ep_rank, tp_rank), dist.get_rank()
    if me == source != 0:
        dist.send(part, 0)
    if result is None:
        return
    held = model.placement(name, tp_rank, ep_rank)
    if source != 0:
        part = part.new_empty(held.shape(result.shape))
        dist.recv(part, source)
    held.put(result, part.cpu())


def _whole_shapes(config: HybridConfig) -> list[tuple[str, torch.Size]]:
    return [(name, parameter.shape) for name, parameter in HybridModel(config, device="meta").named_parameters()]


def _shard(
    module: nn.Module,
    mesh: DeviceMesh,
    policy: MixedPrecisionPolicy,
    where: Callable[[nn.Parameter], Shard | None] | None = None,
) -> None:
    fully_shard(module, mesh=mesh, mp_policy=policy, shard_placement_fn=where)
    assert isinstance(module, FSDPModule)
    module.set_gradient_divide_factor(1.0)
    module.set_force_sum_reduction_for_comms(True)


def _even_dimension(parts: int) -> Callable[[nn.Parameter], Shard | None]:
    """Few experts over many processes: cut the first dimension that comes out even, so that nothing is padded."""

    def where(parameter: nn.Parameter) -> Shard | None:
        return next((Shard(dim) for dim, size in enumerate(parameter.shape) if size % parts == 0), None)

    return where
