"""Linear layers cut over tensor-parallel processes: by output rows, then by input columns (1909.08053, section 3).

A column-parallel layer gives each process its own heads or hidden units; the row-parallel one that follows adds the
parts up. Between the two nothing is communicated: once per mixer forward, once backward.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.kernels.linear import linear
from model.layers.linear import Linear
from model.parallel.collectives import add_up, copy_to, total
from model.parallel.placement import Cut, Placement
from model.parallel.ranks import Peers


class ColumnParallel(Linear):
    """y = x W^T, with some of the rows of W: x is the same on all processes, y is this one's part."""

    def __init__(self, part: Linear, tp: Peers) -> None:
        nn.Module.__init__(self)
        self.weight = part.weight
        self.tp = tp

    def forward(self, x: Tensor) -> Tensor:
        return linear(copy_to(x, self.tp), self.weight)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        raise TypeError("the output of a column-parallel layer is a part; a residual is whole")


class RowParallel(Linear):
    """y = x W^T, with some of the columns of W: x is this process's part, y is the same on all."""

    def __init__(self, part: Linear, tp: Peers) -> None:
        nn.Module.__init__(self)
        self.weight = part.weight
        self.tp = tp

    def forward(self, x: Tensor) -> Tensor:
        return add_up(linear(x, self.weight), self.tp)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        return residual + self.forward(x)


class QKVParallel(ColumnParallel):
    """As ColumnParallel; rows of keys and values that several processes hold get the sum of their gradients."""

    def __init__(self, part: Linear, tp: Peers, held: Placement, size: int) -> None:
        """held: what `part` is of the whole projection of `size` rows."""
        super().__init__(part, tp)
        self.held, self.size = held, size
        self.has_copies = any(run.copies > 1 for cut in held.cuts for run in cut.runs)

    def forward(self, x: Tensor) -> Tensor:
        weight: Tensor = self.weight
        if self.has_copies:
            weight = _SumCopies.apply(weight, self.held, self.size, self.tp)
        return linear(copy_to(x, self.tp), weight)


class _SumCopies(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, held: Placement, size: int, tp: Peers) -> Tensor:
        ctx.held, ctx.size, ctx.tp = held, size, tp
        return weight.view_as(weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        # Every head has its place in one sum over all processes: no groups of a few are needed.
        (cut,) = ctx.held.cuts
        own, shared = cut.runs[0].last - cut.runs[0].first, Placement((Cut(0, cut.runs[1:]),))
        whole = grad.new_zeros(ctx.size, grad.shape[1])
        shared.put(whole, grad[own:])
        return torch.cat((grad[:own], shared.take(total(whole, ctx.tp)))), None, None, None
