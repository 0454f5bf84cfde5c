"""A bias-free linear layer that leaves initialisation to the stack."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.kernels.linear import linear, linear_add


class Linear(nn.Module):
    """y = x W^T with W [out, in]."""

    def __init__(self, size_in: int, size_out: int, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size_out, size_in, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """residual + x W^T in one product."""
        return linear_add(residual, x, self.weight)


class RMSNorm(nn.Module):
    """The weight of a root-mean-square norm; the maths is in `kernels.norm`."""

    def __init__(self, size: int, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, device=device, dtype=dtype))
