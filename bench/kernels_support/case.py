"""What a kernel's benchmark is made of: forms to time side by side, and the least work that any form must do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

Run = Callable[[], object]


@dataclass(frozen=True)
class Case:
    """One kernel in one direction at one shape.

    forms: name -> what to time; `ours` is the dispatcher of this project, the others its peers. bytes: what must at
    least move between memory and the chip, every input and output once. flops: multiplications and additions of the
    algorithm. in_bf16: whether products may use the bf16 rate of the machine.
    """

    kernel: str
    direction: str  # "forward", "forward+backward", "update"
    shape: str
    dtype: torch.dtype
    bytes: int
    flops: int
    forms: dict[str, Run] = field(repr=False)

    @property
    def in_bf16(self) -> bool:
        return self.dtype in (torch.bfloat16, torch.float16)


def size_of(*tensors: Tensor) -> int:
    """Bytes of these tensors together."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def directions(make: Callable[[], Tensor | tuple[Tensor, ...]], leaves: list[Tensor], grad: Tensor) -> tuple[Run, Run]:
    """The forward pass alone, without autograd, and both passes with gradients of all leaves."""

    def forward() -> None:
        with torch.no_grad():
            make()

    def both() -> None:
        result = make()
        output = result if isinstance(result, Tensor) else result[0]
        torch.autograd.grad(output, leaves, grad.view_as(output), allow_unused=True)

    return forward, both
