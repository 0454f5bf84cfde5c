"""Optimizers of the two phases: Muon for matrices with AdamW for the rest (warm start), AdamW alone (reinforcement).

Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): the momentum of a matrix is made orthogonal by five
Newton-Schulz steps before it is applied, so every direction learns at the same speed. It leads early, which is all
a short warm start has; one learning rate serves both. Embedding and head are tables, not maps, and stay with AdamW.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

Kind = Literal["adamw", "muon"]
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """[B, m, n] → the same with all singular values near 1 (within about 0.7 to 1.2, which is enough)."""
    a, b, c = _COEFFICIENTS
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Parameters of two dimensions, or three as a stack of matrices (experts). Nesterov momentum, no weight decay."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape.setdefault(parameter.shape, []).append(parameter)
            for shape, parameters in by_shape.items():
                self._step_together(parameters, shape, group["lr"], group["momentum"])
        return loss

    def _step_together(self, parameters: list[Tensor], shape: torch.Size, lr: float, momentum: float) -> None:
        """Equal shapes share the Newton-Schulz products: many small matrices cost one batched one."""
        rows, columns = shape[-2:]
        updates = []
        for parameter in parameters:
            assert parameter.grad is not None
            buffer = self.state[parameter].setdefault("momentum", torch.zeros_like(parameter))
            buffer.lerp_(parameter.grad, 1.0 - momentum)
            updates.append(parameter.grad.lerp(buffer, momentum).view(-1, rows, columns))
        flat = orthogonalise(torch.cat(updates)) * max(1.0, rows / columns) ** 0.5
        for parameter, update in zip(parameters, flat.split([len(u) for u in updates]), strict=True):
            parameter.add_(update.reshape(shape), alpha=-lr)


class OptimizerSet:
    """One or two optimizers driven as one; `set_progress` scales their base learning rates."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        self.optimizers = optimizers
        self._base = [[group["lr"] for group in optimizer.param_groups] for optimizer in optimizers]

    def scale_lr(self, scale: float) -> None:
        for optimizer, base in zip(self.optimizers, self._base, strict=True):
            for group, lr in zip(optimizer.param_groups, base, strict=True):
                group["lr"] = lr * scale

    def step(self) -> None:
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        for optimizer, saved in zip(self.optimizers, state, strict=True):
            optimizer.load_state_dict(saved)


def build(model: nn.Module, kind: Kind, lr: float) -> OptimizerSet:
    """Optimizers over the parameters that train now: a frozen router is left out."""
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            (matrices if kind == "muon" and _is_map(name, parameter) else rest).append(parameter)
    optimizers: list[torch.optim.Optimizer] = []
    if matrices:
        optimizers.append(Muon(matrices, lr))
    if rest:
        fused = all(parameter.is_floating_point() for parameter in rest)
        optimizers.append(torch.optim.AdamW(rest, lr, betas=(0.9, 0.95), weight_decay=0.0, fused=fused))
    return OptimizerSet(optimizers)


def _is_map(name: str, parameter: Tensor) -> bool:
    table = any(word in name for word in ("embed", "lm_head", "conv"))
    return parameter.ndim in (2, 3) and min(parameter.shape[-2:]) > 1 and not table


def warmup(step: int, steps: int) -> float:
    """Linear from 1/steps to 1 over the first `steps` steps."""
    return min(1.0, (step + 1) / steps) if steps else 1.0


def linear_decay(progress: float, floor: float = 0.1) -> float:
    """From 1 at progress 0 to `floor` at 1."""
    return 1.0 - (1.0 - floor) * min(max(progress, 0.0), 1.0)
