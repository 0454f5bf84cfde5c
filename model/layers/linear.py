"""A bias-free linear layer that leaves initialisation to the stack."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Linear(nn.Module):
    """y = x W^T with W [out, in]."""

    def __init__(self, size_in: int, size_out: int, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size_out, size_in, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        """residual + x W^T in one product."""
        return torch.addmm(residual, x, self.weight.t())


class RMSNorm(nn.Module):
    """The weight of a root-mean-square norm; the maths is in `kernels.norm`."""

    def __init__(self, size: int, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, device=device, dtype=dtype))
