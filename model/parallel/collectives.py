"""Collective operations with gradients: each is the transpose of another, so that losses may be computed anywhere.

    forward        backward         used where
    copy_to        all-reduce       every peer uses x in its own way, x itself is the same on all   (Megatron's f)
    add_up         as it is         every peer has a part, all go on with the sum                   (Megatron's g)
    gather         add, own part    every peer uses all parts in its own way
    gather_same    own part         every peer computes the same from all parts
    exchange       exchange back    rows move to the peers that need them

Alone (one peer) all of them are the identity. All peers must call them, in the same order, whether or not they need the
result, or the others wait; `keep_in_graph` does the same for the backward pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.parallel.ranks import Peers


def copy_to(x: Tensor, peers: Peers) -> Tensor:
    """x, the same on all peers -> x; the gradient is summed over them."""
    return x if peers.handle is None else _CopyTo.apply(x, peers)


def add_up(x: Tensor, peers: Peers) -> Tensor:
    """The sum over all peers, the same bits on each."""
    return x if peers.handle is None else _AddUp.apply(x, peers)


def gather(x: Tensor, peers: Peers) -> Tensor:
    """x [...], of one shape everywhere -> [peers, ...]; the gradient of each part is summed over all peers."""
    return x[None] if peers.handle is None else _Gather.apply(x, peers, True)


def gather_same(x: Tensor, peers: Peers) -> Tensor:
    """As `gather`, for results that all peers compute alike: the gradient is theirs already, and is not summed."""
    return x[None] if peers.handle is None else _Gather.apply(x, peers, False)


def gather_rows(x: Tensor, sizes: Sequence[int], peers: Peers, same: bool = False) -> Tensor:
    """x [sizes[rank], ...] -> [sum(sizes), ...], the parts one after the other."""
    if peers.handle is None:
        return x
    largest = max(sizes)
    padded = torch.cat((x, x.new_zeros(largest - len(x), *x.shape[1:]))) if len(x) < largest else x
    parts = (gather_same if same else gather)(padded, peers)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def exchange(tensors: Sequence[Tensor], send: list[int], receive: list[int], peers: Peers) -> tuple[Tensor, ...]:
    """Each tensor's rows, in blocks of send[p] for peer p -> the rows meant for this one, in blocks of receive[p]."""
    if peers.handle is None:
        return tuple(tensors)
    result: tuple[Tensor, ...] = _Exchange.apply(send, receive, peers, *tensors)
    return result


def keep_in_graph(x: Tensor, unused: Tensor) -> Tensor:
    """x, with `unused` given a gradient of zeros: the collective that made it then runs backward here too."""
    result: Tensor = _KeepInGraph.apply(x, unused)
    return result


def total(x: Tensor, peers: Peers) -> Tensor:
    """The sum over all peers without autograd, in a tensor of its own."""
    summed = x.detach().clone()
    if peers.handle is not None:
        dist.all_reduce(summed, group=peers.handle)
    return summed


class _CopyTo(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, peers: Peers) -> Tensor:
        ctx.peers = peers
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return total(grad.contiguous(), ctx.peers), None


class _AddUp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, peers: Peers) -> Tensor:
        return total(x.contiguous(), peers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad, None


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, peers: Peers, sum_gradients: bool) -> Tensor:
        ctx.peers, ctx.sum_gradients = peers, sum_gradients
        parts = x.new_empty(peers.size, *x.shape)
        dist.all_gather(list(parts.unbind()), x.contiguous(), group=peers.handle)
        return parts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        peers: Peers = ctx.peers
        if not ctx.sum_gradients:
            return grad[peers.rank], None, None
        mine = torch.empty_like(grad[0])
        dist.reduce_scatter(mine, list(grad.contiguous().unbind()), group=peers.handle)
        return mine, None, None


class _Exchange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, send: list[int], receive: list[int], peers: Peers, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.send, ctx.receive, ctx.peers = send, receive, peers
        return tuple(_all_to_all(tensor, send, receive, peers) for tensor in tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        back = (_all_to_all(grad, ctx.receive, ctx.send, ctx.peers) for grad in grads)
        return None, None, None, *back


def _all_to_all(x: Tensor, send: list[int], receive: list[int], peers: Peers) -> Tensor:
    received = x.new_empty(sum(receive), *x.shape[1:])
    dist.all_to_all_single(received, x.contiguous(), receive, send, group=peers.handle)
    return received


class _KeepInGraph(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, unused: Tensor) -> Tensor:
        ctx.save_for_backward(unused)
        return x.view_as(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        return grad, torch.zeros_like(ctx.saved_tensors[0])
