"""Mamba-2 over stretches: each process scans its own tokens from a state of nothing, then corrects what came before.

    1. local scan from zero            y, and per stretch (decay of the whole stretch, state at its end)
    2. gather, combine                 H = sum over earlier stretches q of (decays between) state_q
    3. correction of the first piece   y_t += e^{s_t} C_t H,  s = cumsum(dt A)
What travels is one state per layer and process, 2 MiB at Nano's size, however long the stretch (state passing,
2405.21060, section 8.2). The convolution needs the last K-1 rows of the stretch before.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model.kernels.conv import causal_conv
from model.kernels.norm import gated_rms_norm
from model.kernels.ssd import ssd
from model.layers.mamba import MambaMixer
from model.layout import PackedLayout
from model.parallel.collectives import gather, keep_in_graph
from model.parallel.context_layout import ContextLayout


class ContextMamba(MambaMixer):
    def forward(self, x: Tensor, residual: Tensor, layout: PackedLayout) -> Tensor:
        """x, residual [T_r, D] -> residual + mixer(x), for one stretch of the batch."""
        assert isinstance(layout, ContextLayout)
        z, xBC, dt = self.in_proj(x).split(self.sizes, -1)
        wide = torch.promote_types(x.dtype, torch.float32)
        dt = F.softplus(dt.to(wide) + self.dt_bias.to(wide))
        A = -torch.exp(self.A_log.to(wide))
        stream = causal_conv(xBC, self.conv1d.weight, self.conv1d.bias, layout, layout.halo(xBC))
        y, final = ssd(stream, dt, A, self.D, self.shape, layout)
        y = self._correct(y, final[-1], stream, dt * A, layout)
        y = gated_rms_norm(y, z, self.norm.weight, self.eps, self.shape.num_groups)
        return self.out_proj.add_to(residual, y)

    def _correct(self, y: Tensor, state: Tensor, stream: Tensor, log_decay: Tensor, layout: ContextLayout) -> Tensor:
        """y [T_r, H*P] from nothing, the state at the end [G, N, R*P], log_decay [T_r, H] -> y after all before it."""
        count = layout.first_length
        s = log_decay[:count].cumsum(0)
        left = gather(torch.cat((state.flatten(), torch.exp(s[-1]))), layout.cp)
        if not layout.before:
            return keep_in_graph(y, left)
        states, decays = left.split((state.numel(), self.shape.num_heads), -1)
        come = layout.incoming(states.unflatten(-1, state.shape), self._by_channel(decays)[:, :, None])
        _, _, c = self.shape.split(stream[:count])
        missing = torch.einsum("tgn,gnr->tgr", c.to(s.dtype), come) * self._by_channel(torch.exp(s))
        first = (y[:count].to(s.dtype) + missing.flatten(1)).to(y.dtype)
        return torch.cat((first, y[count:]))

    def _by_channel(self, by_head: Tensor) -> Tensor:
        """[..., H] -> [..., G, R*P]."""
        return by_head.repeat_interleave(self.shape.head_dim, -1).unflatten(-1, (self.shape.num_groups, -1))
