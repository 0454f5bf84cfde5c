"""A mixture-of-experts layer in one compiled call a direction; the mathematics is in cpp/moe.h.

Forward keeps the chosen experts' scores and the hidden units after their relu, in the order of a block's pairs.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.native.library import added_up, address, padded, run, structure, turned

# An expert's rows in a block, on average, and the bounds of a block.
_ROWS, _LEAST, _MOST = 64, 64, 4096
_PART_TOKENS, _MOST_PARTS = 512, 4
_Arguments = structure(
    "MoEArguments",
    ints=("tokens", "D", "E", "I", "S", "k", "block", "normalise"),
    reals=("eps", "scale"),
    pointers=("x", "norm", "gate", "gate_t", "bias", "up", "up_t", "down", "down_t"),
    pointers1=("shared_up", "shared_up_t", "shared_down", "shared_down_t", "recorded", "out", "experts"),
    pointers2=("chosen", "hidden", "shared_hidden", "grad_out", "grad_x", "grads"),
)


class MoEWeights(NamedTuple):
    norm: Tensor  # [D]
    gate: Tensor  # [E, D]
    up: Tensor  # [E, I, D]
    down: Tensor  # [E, I, D]
    shared_up: Tensor  # [S, D]
    shared_down: Tensor  # [D, S]


class MoERule(NamedTuple):
    bias: Tensor  # [E], not centred
    top_k: int
    scale: float
    normalise: bool
    eps: float


def moe_layer(
    x: Tensor,
    weights: MoEWeights,
    rule: MoERule,
    recorded: Tensor | None = None,
    parts: Sequence[int] | None = None,
) -> tuple[Tensor, Tensor]:
    """x [T, D] -> x + mixer(norm(x)) [T, D] and the experts chosen [T, k] int64.

    recorded [T, k] int64: experts to replay; a row with a negative number is chosen live. parts: the runs of tokens
    whose gradients are added up by themselves, as bounds; whole blocks when None.
    """
    keep = torch.is_grad_enabled() and any(part.requires_grad for part in (x, *weights))
    out, experts = _MoELayer.apply(x, *weights, rule, recorded, parts, keep)
    return out, experts


def moe_arguments(weights: MoEWeights, rule: MoERule) -> tuple[ctypes.Structure, list[Tensor]]:
    """What a call is told of the layer, and the tensors made for it, which must live as long as it."""
    num_experts, units, size = weights.up.shape
    made = {name: turned(getattr(weights, name)) for name in ("gate", "up", "down", "shared_up")}
    made["shared_down"] = turned(weights.shared_down, pad=False)
    bias = (rule.bias - rule.bias.mean()).to(weights.up.dtype)
    arguments = _Arguments(
        D=size,
        E=num_experts,
        I=units,
        S=len(weights.shared_up),
        k=rule.top_k,
        block=_block(num_experts, rule.top_k),
        normalise=rule.normalise,
        eps=rule.eps,
        scale=rule.scale,
        bias=address(bias),
        **{name: address(tensor) for name, tensor in zip(MoEWeights._fields, weights, strict=True)},
        **{f"{name}_t": address(tensor) for name, tensor in made.items()},
    )
    return arguments, [bias, *made.values()]


def moe_keeps(x: Tensor, weights: MoEWeights, rule: MoERule) -> dict[str, int]:
    """What forward keeps of the layer for its gradient, in numbers."""
    pairs = len(x) * rule.top_k
    return {
        "chosen": pairs,
        "hidden": pairs * padded(weights.up.shape[1], x),
        "shared_hidden": len(x) * padded(len(weights.shared_up), x),
    }


def _arguments(
    x: Tensor, weights: MoEWeights, rule: MoERule, recorded: Tensor | None, experts: Tensor
) -> tuple[ctypes.Structure, list[Tensor]]:
    arguments, made = moe_arguments(weights, rule)
    arguments.tokens, arguments.x = len(x), address(x)
    arguments.recorded, arguments.experts = address(recorded), address(experts)
    return arguments, made


def _block(num_experts: int, top_k: int) -> int:
    return min(_MOST, max(_LEAST, num_experts * _ROWS // top_k))


def _parts(tokens: int, block: int) -> list[int]:
    """Runs of whole blocks, as bounds of their tokens, cut by the sizes alone."""
    blocks = -(-tokens // block)
    count = min(_MOST_PARTS, blocks, max(1, tokens // _PART_TOKENS))
    return [min(tokens, blocks * part // count * block) for part in range(count + 1)]


class _MoELayer(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, *inputs: Any) -> tuple[Tensor, Tensor]:
        weights, (rule, recorded, parts, keep) = MoEWeights(*inputs[:6]), inputs[6:]
        x, out = x.contiguous(), torch.empty_like(x, memory_format=torch.contiguous_format)
        recorded = None if recorded is None else recorded.contiguous()
        experts = torch.empty(len(x), rule.top_k, dtype=torch.int64)
        arguments, _made = _arguments(x, weights, rule, recorded, experts)
        arguments.out = address(out)
        parts = _parts(len(x), arguments.block) if parts is None else parts
        if keep:
            sizes = moe_keeps(x, weights, rule)
            kept = [x.new_empty(size) for size in sizes.values()]
            for name, tensor in zip(sizes, kept, strict=True):
                setattr(arguments, name, address(tensor))
            ctx.save_for_backward(x, *weights, experts, *kept)
            ctx.rule, ctx.parts = rule, parts
        ctx.mark_non_differentiable(experts)
        ctx.set_materialize_grads(False)
        run(x.dtype, "moe_forward", arguments, parts, numbered=False)
        return out, experts

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, _experts: None) -> tuple[Tensor | None, ...]:
        if grad is None:
            return (None,) * 11
        x, *saved = ctx.saved_tensors
        weights, experts, kept = MoEWeights(*saved[:6]), saved[6], saved[7:]
        grad = grad.contiguous()
        grad_x = torch.empty_like(x)
        arguments, _made = _arguments(x, weights, ctx.rule, None, experts)
        for name, tensor in zip(("chosen", "hidden", "shared_hidden"), kept, strict=True):
            setattr(arguments, name, address(tensor))
        sizes = [weight.numel() for weight in weights]
        grads = x.new_empty(len(ctx.parts) - 1, sum(sizes))
        arguments.grad_out, arguments.grad_x, arguments.grads = address(grad), address(grad_x), address(grads)
        run(x.dtype, "moe_backward", arguments, ctx.parts, numbered=True)
        by_weight = [part.view_as(weight) for part, weight in zip(added_up(grads).split(sizes), weights, strict=True)]
        return grad_x, *by_weight, None, None, None, None
