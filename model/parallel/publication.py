"""The weights of a model in shards, brought together parameter by parameter where they will be handed over.

shards ─▶ one parameter at a time ─▶ its slot in process 0's memory u8[nbytes] ─▶ (model.weight_layout) a policy server

The memory is that of `model.weight_layout` for the whole model, so a server adopts it as it does one process's. Beside
it no process ever holds more than one parameter, which is less than a block's forward pass gathers.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.parallel.parallelise import gather_into
from model.parallel.sharded_model import ShardedModel
from model.stack import HybridModel
from model.weight_layout import slots_of


def blank(model: ShardedModel) -> HybridModel:
    """The whole model's structure without its numbers, as `weight_layout` takes it."""
    return HybridModel(model.config, device=torch.device("meta"), dtype=model.dtype)


@torch.no_grad()
def write_whole(model: ShardedModel, memory: Tensor | None) -> None:
    """Write every parameter and buffer into process 0's memory; None on the others, which have to call it too."""
    parameters, buffers = dict(model.named_parameters()), dict(model.named_buffers())
    for slot in slots_of(blank(model)):
        target = None if memory is None else slot.of(memory)
        if slot.name in parameters:
            gather_into(model, slot.name, parameters[slot.name], target)
        elif target is not None:
            target.copy_(buffers[slot.name])  # the same on every process
