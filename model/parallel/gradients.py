"""The norm of gradients that no process holds whole, and clipping by it.

|g|^2 = sum over processes, parameters and rows of |own part of the row|^2 / (processes that hold the same part)
FSDP2 leaves each token rank another shard; tensor and expert parallelism leave other rows, but norms, gates and some
key/value heads are the same on several processes. Summed in fp64, so the norm is the same bits on every process.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor, Shard

from model.parallel.collectives import total
from model.parallel.sharded_model import ShardedModel


@torch.no_grad()
def grad_norm(model: ShardedModel) -> Tensor:
    """The Euclidean norm of the gradient of the whole model, fp64; every process calls it and gets the same."""
    squares = torch.zeros((), dtype=torch.float64, device=model.device)
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            squares += _own_squares(model, name, parameter.grad)
    return total(squares, model.ranks.world).sqrt()


@torch.no_grad()
def clip_grad_norm(model: ShardedModel, max_norm: float) -> Tensor:
    """Scale all gradients so that their norm is at most max_norm; returns the norm before, as torch's function does.

    A norm that is not a number, or infinite, makes every gradient so: check it before the optimiser steps.
    """
    norm = grad_norm(model)
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for parameter in model.parameters():
        if parameter.grad is not None:
            local(parameter.grad).mul_(factor.to(parameter.grad.dtype))
    return norm


def local(tensor: Tensor) -> Tensor:
    """What this process holds of a parameter or gradient."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def _own_squares(model: ShardedModel, name: str, grad: Tensor) -> Tensor:
    shares = model.placement(name).share_of_norm(grad.shape[0], model.device)
    own = local(grad)
    if isinstance(grad, DTensor):
        (where,) = grad.placements
        if isinstance(where, Shard) and where.dim == 0:
            pieces = shares.chunk(grad.device_mesh.size())
            rank = grad.device_mesh.get_local_rank()
            shares = pieces[rank] if rank < len(pieces) else shares[:0]
    if not own.numel():
        return shares.new_zeros(())
    by_row = torch.linalg.vector_norm(own.reshape(len(own), -1), dim=1, dtype=torch.float64)
    return by_row.square() @ shares
