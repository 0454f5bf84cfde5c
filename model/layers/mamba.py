"""Mamba-2 mixer: in_proj -> short convolution -> state space -> gated norm -> out_proj (2405.21060, figure 6)."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.config import HybridConfig
from model.kernels.conv import causal_conv, causal_conv_final_state
from model.kernels.norm import gated_rms_norm
from model.kernels.ssd import ssd
from model.kernels.ssd_shape import SSDShape
from model.layers.linear import Linear, RMSNorm
from model.layout import PackedLayout


class MambaState(NamedTuple):
    """What a sequence carries: its last K-1 convolution inputs [B, K-1, C] and its states [B, G, N, R*P] in fp32."""

    conv: Tensor
    ssm: Tensor


class DepthwiseConv(nn.Module):
    """Taps [K, C] (released as [C, 1, K]) and bias [C]."""

    def __init__(self, channels: int, width: int, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, channels, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.empty(channels, device=device, dtype=dtype))


class MambaMixer(nn.Module):
    """in_proj rows are z | x | B | C | dt; the convolution runs over x | B | C."""

    def __init__(self, config: HybridConfig, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = SSDShape(config.mamba_num_heads, config.mamba_head_dim, config.n_groups, config.ssm_state_size)
        self.eps = config.layer_norm_epsilon
        self.sizes = (config.mamba_inner_size, config.conv_dim, config.mamba_num_heads)
        self.in_proj = Linear(config.hidden_size, config.in_proj_size, device, dtype)
        self.conv1d = DepthwiseConv(config.conv_dim, config.conv_kernel, device, dtype)
        heads = torch.empty(config.mamba_num_heads, device=device, dtype=dtype)
        self.A_log = nn.Parameter(heads.clone())
        self.D = nn.Parameter(heads.clone())
        self.dt_bias = nn.Parameter(heads.clone())
        self.norm = RMSNorm(config.mamba_inner_size, device, dtype)
        self.out_proj = Linear(config.mamba_inner_size, config.hidden_size, device, dtype)

    def forward(self, x: Tensor, residual: Tensor, layout: PackedLayout) -> Tensor:
        """x, residual [T, D] -> residual + mixer(x)."""
        return self._mix(x, residual, layout, None)[0]

    def prefill(
        self, x: Tensor, residual: Tensor, layout: PackedLayout, state: MambaState | None
    ) -> tuple[Tensor, MambaState]:
        """As forward, continuing from `state` (None: from nothing), with the state at the end of each sequence."""
        y, xBC, final = self._mix(x, residual, layout, state)
        return y, MambaState(causal_conv_final_state(xBC, layout, state.conv if state else None), final)

    def _mix(
        self, x: Tensor, residual: Tensor, layout: PackedLayout, state: MambaState | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        z, xBC, dt = self.in_proj(x).split(self.sizes, -1)
        # The decay is an exponential of a running sum: narrower than fp32 it drifts away from every other engine.
        wide = torch.promote_types(x.dtype, torch.float32)
        dt = F.softplus(dt.to(wide) + self.dt_bias.to(wide))
        A = -torch.exp(self.A_log.to(wide))
        stream = causal_conv(xBC, self.conv1d.weight, self.conv1d.bias, layout, state.conv if state else None)
        y, final = ssd(stream, dt, A, self.D, self.shape, layout, state.ssm if state else None)
        y = gated_rms_norm(y, z, self.norm.weight, self.eps, self.shape.num_groups)
        return self.out_proj.add_to(residual, y), xBC, final
