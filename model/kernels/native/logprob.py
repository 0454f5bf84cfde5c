"""Log-probabilities and entropies of a small head in one compiled call a direction; see cpp/logprob.cpp."""

from __future__ import annotations

import ctypes
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.native.library import added_up, address, library, run, structure, turned

# Numbers of a head that stays in cache; beyond, the library's blocked products win.
MOST_NUMBERS = 1 << 20
_ROWS, _PART_TOKENS, _MOST_PARTS = 64, 512, 4  # _ROWS as in logprob.cpp
_Arguments = structure(
    "LogprobArguments",
    ints=("tokens", "D", "V"),
    reals=("inverse_temperature",),
    pointers=("hidden", "weight", "weight_t", "targets", "logprobs", "entropy", "normaliser"),
    pointers1=("grad", "grad_entropy", "grad_hidden", "grads"),
)


def takes(hidden: Tensor, weight: Tensor) -> bool:
    """Whether this form serves: plain numbers of one dtype on a CPU, few enough, some tokens, and a library."""
    plain = hidden.device.type == "cpu" and hidden.dtype == weight.dtype and weight.is_contiguous()
    few = 0 < weight.numel() <= MOST_NUMBERS and len(hidden) > 0
    return plain and few and library(hidden.dtype) is not None


def native_logprob(
    hidden: Tensor, weight: Tensor, targets: Tensor, inverse_temperature: float
) -> tuple[Tensor, Tensor]:
    """hidden [T, D], weight [V, D], targets [T] -> (logprobs [T], entropy [T]). Raises IndexError for a wild target."""
    if int(targets.min()) < 0 or int(targets.max()) >= len(weight):
        raise IndexError(f"targets must be within 0..{len(weight) - 1}, got {int(targets.min())}..{int(targets.max())}")
    logprobs, entropy = _Logprob.apply(hidden, weight, targets, inverse_temperature)
    return logprobs, entropy


def _parts(tokens: int) -> list[int]:
    blocks = -(-tokens // _ROWS)
    count = max(1, min(_MOST_PARTS, tokens // _PART_TOKENS))
    return [blocks * part // count for part in range(count + 1)]


def _arguments(
    hidden: Tensor, weight: Tensor, targets: Tensor, inverse_temperature: float, results: tuple[Tensor, ...]
) -> tuple[ctypes.Structure, list[Tensor]]:
    weight_t = turned(weight, apart=True)
    arguments = _Arguments(
        tokens=len(hidden),
        D=hidden.shape[1],
        V=len(weight),
        inverse_temperature=inverse_temperature,
        hidden=address(hidden),
        weight=address(weight),
        weight_t=address(weight_t),
        targets=address(targets),
        **{name: address(part) for name, part in zip(("logprobs", "entropy", "normaliser"), results, strict=True)},
    )
    return arguments, [hidden, weight_t, targets]


class _Logprob(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, inverse_temperature: float
    ) -> tuple[Tensor, Tensor]:
        hidden, targets = hidden.contiguous(), targets.to(torch.int64).contiguous()
        logprobs, entropy, normaliser = (hidden.new_empty(len(hidden)) for _ in range(3))
        results = logprobs, entropy, normaliser
        arguments, _ready = _arguments(hidden, weight, targets, inverse_temperature, results)
        run(hidden.dtype, "logprob_forward", arguments, _parts(len(hidden)), numbered=False)
        ctx.save_for_backward(hidden, weight, targets, *results)
        ctx.inverse_temperature = inverse_temperature
        ctx.set_materialize_grads(False)
        return logprobs, entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor | None, grad_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        if grad is None and grad_entropy is None:
            return None, None, None, None
        hidden, weight, targets, *results = ctx.saved_tensors
        arguments, _ready = _arguments(hidden, weight, targets, ctx.inverse_temperature, tuple(results))
        grad, grad_entropy = (None if part is None else part.contiguous() for part in (grad, grad_entropy))
        parts, grad_hidden = _parts(len(hidden)), torch.empty_like(hidden)
        grads = weight.new_empty(len(parts) - 1, weight.numel())
        arguments.grad, arguments.grad_entropy = address(grad), address(grad_entropy)
        arguments.grad_hidden, arguments.grads = address(grad_hidden), address(grads)
        run(hidden.dtype, "logprob_backward", arguments, parts, numbered=True)
        return grad_hidden, added_up(grads).view_as(weight), None, None
