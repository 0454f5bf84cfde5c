"""An attention layer in one compiled call a direction; the mathematics is in cpp/attention.h.

Forward keeps queries, keys and values, what was attended and the logarithm of each row's sum of exponentials.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.attention import AttentionShape
from model.kernels.native.library import added_up, address, padded, run, structure, turned
from model.layout import PackedLayout

# Rows of scores of longer sequences would leave the cache: torch's blockwise kernel is the better one there.
LONGEST = 4096
_Arguments = structure(
    "AttentionArguments",
    ints=("D", "heads", "kv_heads", "size"),
    reals=("eps",),
    pointers=("bounds", "x", "norm", "qkv", "qkv_t", "o", "o_t"),
    pointers1=("out", "projected", "attended", "lse", "grad_out", "grad_x", "grads"),
)


class AttentionWeights(NamedTuple):
    norm: Tensor  # [D]
    qkv: Tensor  # [(Hq + 2 Hkv) dh, D]
    o: Tensor  # [D, Hq dh]


def attention_layer(
    x: Tensor, weights: AttentionWeights, shape: AttentionShape, eps: float, layout: PackedLayout
) -> Tensor:
    """x [T, D] -> x + mixer(norm(x)) [T, D], with gradients."""
    if not (torch.is_grad_enabled() and any(part.requires_grad for part in (x, *weights))):
        return attention_layer_projected(x, weights, shape, eps, layout)[0]
    result: Tensor = _AttentionLayer.apply(x, *weights, shape, eps, layout)
    return result


def attention_layer_projected(
    x: Tensor, weights: AttentionWeights, shape: AttentionShape, eps: float, layout: PackedLayout
) -> tuple[Tensor, Tensor]:
    """As `attention_layer` without gradients, and the queries, keys and values [T, (Hq + 2 Hkv) dh]."""
    x = x.contiguous()
    out, projected = torch.empty_like(x), x.new_empty(len(x), padded(len(weights.qkv), x))
    arguments, _made = _arguments(x, weights, shape, eps, layout)
    arguments.out, arguments.projected = address(out), address(projected)
    run(x.dtype, "attention_forward", arguments, layout.parts, numbered=False)
    return out, projected[:, : len(weights.qkv)]


def attention_arguments(
    weights: AttentionWeights, shape: AttentionShape, eps: float
) -> tuple[ctypes.Structure, list[Tensor]]:
    """What a call is told of the layer, and the tensors made for it, which must live as long as it."""
    qkv_t, o_t = turned(weights.qkv), turned(weights.o, pad=False)
    arguments = _Arguments(
        D=weights.qkv.shape[1],
        heads=shape.num_heads,
        kv_heads=shape.num_kv_heads,
        size=shape.head_dim,
        eps=eps,
        qkv_t=address(qkv_t),
        o_t=address(o_t),
        **{name: address(tensor) for name, tensor in zip(AttentionWeights._fields, weights, strict=True)},
    )
    return arguments, [qkv_t, o_t]


def attention_keeps(x: Tensor, weights: AttentionWeights, shape: AttentionShape) -> dict[str, int]:
    """What forward keeps of the layer for its gradient, in numbers."""
    sizes = {
        "projected": padded(len(weights.qkv), x),
        "attended": shape.num_heads * shape.head_dim,
        "lse": shape.num_heads,
    }
    return {name: len(x) * size for name, size in sizes.items()}


def _arguments(
    x: Tensor, weights: AttentionWeights, shape: AttentionShape, eps: float, layout: PackedLayout
) -> tuple[ctypes.Structure, list[Tensor]]:
    arguments, made = attention_arguments(weights, shape, eps)
    arguments.bounds, arguments.x = address(layout.bounds), address(x)
    return arguments, made


class _AttentionLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *inputs: Any) -> Tensor:
        weights = AttentionWeights(*inputs[:3])
        shape, eps, layout = inputs[3:]
        x = x.contiguous()
        out = torch.empty_like(x)
        sizes = attention_keeps(x, weights, shape)
        kept = [x.new_empty(size) for size in sizes.values()]
        arguments, _made = _arguments(x, weights, shape, eps, layout)
        arguments.out = address(out)
        for name, tensor in zip(sizes, kept, strict=True):
            setattr(arguments, name, address(tensor))
        ctx.save_for_backward(x, *weights, *kept)
        ctx.shape, ctx.eps, ctx.layout = shape, eps, layout
        run(x.dtype, "attention_forward", arguments, layout.parts, numbered=False)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        weights, kept = AttentionWeights(*saved[:3]), saved[3:]
        grad = grad.contiguous()
        grad_x = torch.empty_like(x)
        arguments, _made = _arguments(x, weights, ctx.shape, ctx.eps, ctx.layout)
        for name, tensor in zip(("projected", "attended", "lse"), kept, strict=True):
            setattr(arguments, name, address(tensor))
        sizes = [weight.numel() for weight in weights]
        grads = x.new_empty(len(ctx.layout.parts) - 1, sum(sizes))
        arguments.grad_out, arguments.grad_x, arguments.grads = address(grad), address(grad_x), address(grads)
        run(x.dtype, "attention_backward", arguments, ctx.layout.parts, numbered=True)
        by_weight = [part.view_as(weight) for part, weight in zip(added_up(grads).split(sizes), weights, strict=True)]
        return grad_x, *by_weight, None, None, None
