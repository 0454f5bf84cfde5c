"""The root-mean-square norm in one compiled call a direction; see cpp/norms.h."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.native.library import added_up, address, library, run, structure

_PART_TOKENS, _MOST_PARTS = 512, 4
_Arguments = structure(
    "NormArguments",
    ints=("tokens", "D"),
    reals=("eps",),
    pointers=("x", "weight", "y", "inverse", "grad", "grad_x", "grads"),
)


def takes(x: Tensor, weight: Tensor) -> bool:
    """Whether this form serves: rows of numbers of one dtype on a CPU, and a library."""
    plain = x.device.type == "cpu" and x.dtype == weight.dtype and x.dim() == 2 and x.numel() > 0
    return plain and weight.is_contiguous() and library(x.dtype) is not None


def native_rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x [T, D], weight [D] -> [T, D]."""
    result: Tensor = _Norm.apply(x, weight, eps)
    return result


def _parts(tokens: int) -> list[int]:
    count = max(1, min(_MOST_PARTS, tokens // _PART_TOKENS))
    return [tokens * part // count for part in range(count + 1)]


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        x = x.contiguous()
        y, inverse = torch.empty_like(x), x.new_empty(len(x))
        where = {"x": x, "weight": weight, "y": y, "inverse": inverse}
        arguments = _Arguments(len(x), x.shape[1], eps, **{name: address(part) for name, part in where.items()})
        run(x.dtype, "norm_forward", arguments, _parts(len(x)), numbered=False)
        ctx.save_for_backward(x, weight, inverse)
        ctx.eps = eps
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        x, weight, inverse = ctx.saved_tensors
        parts, grad, grad_x = _parts(len(x)), grad.contiguous(), torch.empty_like(x)
        grads = x.new_empty(len(parts) - 1, x.shape[1])
        where = {"x": x, "weight": weight, "inverse": inverse, "grad": grad, "grad_x": grad_x, "grads": grads}
        arguments = _Arguments(len(x), x.shape[1], ctx.eps, **{name: address(part) for name, part in where.items()})
        run(x.dtype, "norm_backward", arguments, parts, numbered=True)
        return grad_x, added_up(grads), None
