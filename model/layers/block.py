"""One layer: x + mixer(RMSNorm(x)), the mixer named by a letter of the pattern."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import ATTENTION, MAMBA, MOE, HybridConfig
from model.kernels.norm import rms_norm
from model.layers import native
from model.layers.attention import AttentionMixer
from model.layers.linear import RMSNorm
from model.layers.mamba import MambaMixer
from model.layers.moe import MoEMixer
from model.layout import PackedLayout

MIXERS = {MAMBA: MambaMixer, ATTENTION: AttentionMixer, MOE: MoEMixer}


class Block(nn.Module):
    def __init__(self, kind: str, config: HybridConfig, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.kind = kind
        self.eps = config.layer_norm_epsilon
        self.norm = RMSNorm(config.hidden_size, device, dtype)
        self.mixer: nn.Module = MIXERS[kind](config, device, dtype)

    def normalise(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.norm.weight, self.eps)

    def forward(self, x: Tensor, layout: PackedLayout, counted: Tensor | None = None) -> Tensor:
        """x [T, D] -> [T, D]."""
        if native.takes(x, self.norm, self.mixer, layout):
            return native.forward(x, self.norm, self.mixer, self.eps, layout, counted)
        if isinstance(self.mixer, MoEMixer):
            return self.mixer.forward(self.normalise(x), x, counted)
        result: Tensor = self.mixer(self.normalise(x), x, layout)
        return result
