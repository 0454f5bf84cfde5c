"""Experts spread over token ranks: rows travel to the processes that hold their experts, and back (2006.16668).

    sort pairs by expert -> all-to-all(rows, weights) -> own experts -> all-to-all back -> add each token's k rows

M = T*k pairs of a token and one of its experts. Rows arrive in the order of the senders' ranks, a token's k results are
added best expert first, and both index maps of the gradient are permutations: nothing depends on who was fast.
The weights travel too, so that the experts' kernel applies them and no output needs to be kept for their gradient.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.kernels.experts import routed_experts
from model.kernels.experts_order import ExpertOrder, order_by_expert
from model.kernels.router import Routing
from model.parallel.collectives import add_up, copy_to, exchange
from model.parallel.ranks import Peers


class ExpertShard(nn.Module):
    """E/ep experts, of each the I/tp hidden units of this process; up_proj and down_proj [E/ep, I/tp, D]."""

    def __init__(
        self, shape: tuple[int, ...], num_experts: int, ep: Peers, tp: Peers, device: torch.device, dtype: torch.dtype
    ) -> None:
        super().__init__()
        self.num_experts, self.ep, self.tp = num_experts, ep, tp
        self.up_proj = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        self.down_proj = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))

    def forward(self, x: Tensor, routing: Routing) -> Tensor:
        """x [T, D] -> the weighted sum of each token's experts [T, D], wherever these are held."""
        mine = Routing(routing.experts, copy_to(routing.weights, self.tp))
        x = copy_to(x, self.tp)
        if self.ep.handle is None:
            return add_up(routed_experts(x, mine, self.up_proj, self.down_proj), self.tp)
        return add_up(self._spread(x, mine), self.tp)

    def _spread(self, x: Tensor, routing: Routing) -> Tensor:
        order = order_by_expert(routing.experts, self.num_experts)
        counts = order.ends.diff(prepend=order.ends.new_zeros(1))
        arriving = torch.empty_like(counts)
        dist.all_to_all_single(arriving, counts, group=self.ep.handle)
        send, receive = torch.stack((counts, arriving)).view(2, self.ep.size, -1).sum(-1).tolist()
        rows: Tensor = _Copies.apply(x, order)
        weights = routing.weights.flatten().index_select(0, order.pair)[:, None]
        rows, weights = exchange((rows, weights), send, receive, self.ep)
        local = torch.arange(self.num_experts // self.ep.size, device=x.device).repeat(self.ep.size)
        experts = local.repeat_interleave(arriving)[:, None]
        results = routed_experts(rows, Routing(experts, weights), self.up_proj, self.down_proj)
        (results,) = exchange((results,), receive, send, self.ep)
        combined: Tensor = _Combined.apply(results, order)
        return combined


class _Copies(torch.autograd.Function):
    """x [T, D] -> a copy for each pair, sorted by expert [M, D]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: ExpertOrder) -> Tensor:
        ctx.order = order
        return x.index_select(0, order.token)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _add_pairs(grad, ctx.order), None


class _Combined(torch.autograd.Function):
    """Rows of all pairs, sorted by expert [M, D] -> their sum per token [T, D]; the transpose of _Copies."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, order: ExpertOrder) -> Tensor:
        ctx.order = order
        return _add_pairs(rows, order)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.index_select(0, ctx.order.token), None


def _add_pairs(rows: Tensor, order: ExpertOrder) -> Tensor:
    """fp32 at least between the k terms, whatever the dtype of the rows."""
    wide = torch.promote_types(rows.dtype, torch.float32)
    by_token = rows.index_select(0, order.row.flatten()).view(*order.row.shape, -1)
    return by_token.sum(1, dtype=wide).to(rows.dtype)
