"""A Mamba-2 layer in one compiled call a direction: x + mixer(RMSNorm(x)); the mathematics is in cpp/mamba.h.

Forward keeps the rows of in_proj, dt, y and the states between chunks; what else the gradient needs is made again while
it is in cache.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.native.library import added_up, address, padded, run, structure, turned
from model.kernels.ssd_shape import SSDShape
from model.layout import PackedLayout

MOST_TAPS = 16
_WEIGHTS = ("norm", "in_proj", "taps", "conv_bias", "dt_bias", "A", "skip", "gate_norm", "out_proj")
_Arguments = structure(
    "MambaArguments",
    ints=("D", "H", "P", "G", "N", "K", "Q"),
    reals=("eps",),
    pointers=("bounds", "first_state", "x"),
    pointers1=("norm", "in_proj", "in_proj_t", "taps", "conv_bias", "dt_bias", "A", "skip", "gate_norm"),
    pointers2=("out_proj", "out_proj_t", "conv_in", "ssm_in", "out", "conv_out", "ssm_out"),
    pointers3=("projected", "steps", "scanned", "states", "grad_out", "grad_x", "grads"),
)


class MambaWeights(NamedTuple):
    norm: Tensor  # [D]
    in_proj: Tensor  # [z|xBC|dt, D]
    taps: Tensor  # [K, C]
    conv_bias: Tensor  # [C]
    dt_bias: Tensor  # [H]
    A_log: Tensor  # [H]
    skip: Tensor  # [H]
    gate_norm: Tensor  # [H*P]
    out_proj: Tensor  # [D, H*P]


def mamba_layer(x: Tensor, weights: MambaWeights, shape: SSDShape, eps: float, layout: PackedLayout) -> Tensor:
    """x [T, D] -> x + mixer(norm(x)) [T, D], with gradients."""
    keep = torch.is_grad_enabled() and any(part.requires_grad for part in (x, *weights))
    result: Tensor = _MambaLayer.apply(x, *weights, shape, eps, layout, keep)
    return result


def mamba_layer_from(
    x: Tensor,
    weights: MambaWeights,
    shape: SSDShape,
    eps: float,
    layout: PackedLayout,
    conv: Tensor | None,
    ssm: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """As `mamba_layer` without gradients, from conv [B, K-1, C] and ssm [B, G, N, R*P], with both at the end."""
    conv_out = x.new_empty(layout.num_sequences, len(weights.taps) - 1, weights.taps.shape[1])
    ssm_out = x.new_empty(shape.states(layout.num_sequences))
    out = torch.empty_like(x)
    conv, ssm = (None if part is None else part.contiguous() for part in (conv, ssm))
    arguments, _made = _arguments(x, weights, shape, eps, layout)
    arguments.conv_in, arguments.ssm_in = address(conv), address(ssm)
    arguments.conv_out, arguments.ssm_out, arguments.out = address(conv_out), address(ssm_out), address(out)
    run(x.dtype, "mamba_forward", arguments, layout.parts, numbered=False)
    return out, conv_out, ssm_out


def mamba_arguments(
    weights: MambaWeights, shape: SSDShape, eps: float, chunk_size: int
) -> tuple[ctypes.Structure, list[Tensor]]:
    """What a call is told of the layer, and the tensors made for it, A first, which must live as long as it."""
    in_proj_t, out_proj_t = turned(weights.in_proj), turned(weights.out_proj, pad=False)
    A = -torch.exp(weights.A_log)
    named = dict(zip(_WEIGHTS, weights, strict=True)) | {"A": A, "in_proj_t": in_proj_t, "out_proj_t": out_proj_t}
    arguments = _Arguments(
        D=weights.in_proj.shape[1],
        H=shape.num_heads,
        P=shape.head_dim,
        G=shape.num_groups,
        N=shape.state_size,
        K=len(weights.taps),
        Q=chunk_size,
        eps=eps,
        **{name: address(tensor) for name, tensor in named.items()},
    )
    return arguments, [A, in_proj_t, out_proj_t]


def mamba_keeps(x: Tensor, weights: MambaWeights, shape: SSDShape, layout: PackedLayout) -> dict[str, int]:
    """What forward keeps of the layer for its gradient, in numbers."""
    tokens, state = len(x), shape.state_size * shape.inner
    return {
        "projected": tokens * padded(len(weights.in_proj), x),
        "steps": tokens * shape.num_heads,
        "scanned": tokens * shape.inner,
        "states": layout.num_states * state,
    }


def _arguments(
    x: Tensor, weights: MambaWeights, shape: SSDShape, eps: float, layout: PackedLayout
) -> tuple[ctypes.Structure, list[Tensor]]:
    arguments, made = mamba_arguments(weights, shape, eps, layout.chunk_size)
    arguments.bounds, arguments.first_state = address(layout.bounds), address(layout.state_places)
    arguments.x = address(x)
    return arguments, made


class _MambaLayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *inputs: Any) -> Tensor:
        weights = MambaWeights(*inputs[:9])
        shape, eps, layout, keep = inputs[9:]
        x = x.contiguous()
        out = torch.empty_like(x)
        arguments, _made = _arguments(x, weights, shape, eps, layout)
        arguments.out = address(out)
        if keep:
            sizes = mamba_keeps(x, weights, shape, layout)
            kept = [x.new_empty(size) for size in sizes.values()]
            for name, tensor in zip(sizes, kept, strict=True):
                setattr(arguments, name, address(tensor))
            ctx.save_for_backward(x, *weights, *kept)
            ctx.shape, ctx.eps, ctx.layout = shape, eps, layout
        run(x.dtype, "mamba_forward", arguments, layout.parts, numbered=False)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, *saved = ctx.saved_tensors
        weights, kept = MambaWeights(*saved[:9]), saved[9:]
        grad = grad.contiguous()
        grad_x = torch.empty_like(x)
        arguments, _made = _arguments(x, weights, ctx.shape, ctx.eps, ctx.layout)
        for name, tensor in zip(("projected", "steps", "scanned", "states"), kept, strict=True):
            setattr(arguments, name, address(tensor))
        total = sum(weight.numel() for weight in weights)
        grads = x.new_empty(len(ctx.layout.parts) - 1, total)
        arguments.grad_out, arguments.grad_x, arguments.grads = address(grad), address(grad_x), address(grads)
        run(x.dtype, "mamba_backward", arguments, ctx.layout.parts, numbered=True)
        added = added_up(grads).split([weight.numel() for weight in weights])
        by_weight = [part.view_as(weight) for part, weight in zip(added, weights, strict=True)]
        return grad_x, *by_weight, None, None, None, None
