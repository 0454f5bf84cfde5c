"""Dimensions of the state-space layer and how its stream and states are laid out."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class SSDShape(NamedTuple):
    """H heads of P channels in G groups (R = H/G heads share one B and C of N numbers)."""

    num_heads: int
    head_dim: int
    num_groups: int
    state_size: int

    @property
    def inner(self) -> int:
        """Channels of x: H*P."""
        return self.num_heads * self.head_dim

    @property
    def group_width(self) -> int:
        """Channels of x that share one B and C: R*P."""
        return self.inner // self.num_groups

    def states(self, batch: int) -> tuple[int, int, int, int]:
        """Shape of the states of `batch` sequences: [batch, G, N, R*P]."""
        return batch, self.num_groups, self.state_size, self.group_width

    def split(self, xBC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [..., G, R*P], B [..., G, N], C [..., G, N]."""
        size = self.num_groups * self.state_size
        x, b, c = xBC.split((self.inner, size, size), -1)
        groups = (self.num_groups, -1)
        return x.unflatten(-1, groups), b.unflatten(-1, groups), c.unflatten(-1, groups)
