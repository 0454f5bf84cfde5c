"""State-space duality: the Mamba-2 recurrence over packed sequences (Dao & Gu, 2405.21060, sections 6 and 7).

Per head h with group g:  S_t = exp(dt_t A_h) S_{t-1} + B_t (dt_t x_t)^T,   y_t = S_t^T C_t + D_h x_t.
Everything is computed in fp32 at least; `dt` arrives after its softplus and is not clamped (limit 0..inf).

Shapes: T tokens, B sequences, H heads of P channels, G groups of R = H/G heads, N state size.
xBC [T, H*P + 2*G*N] is the convolved stream x | B | C; states are [B, G, N, R*P].
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.kernels.ssd_chunked import chunked_ssd
from model.kernels.ssd_shape import SSDShape
from model.kernels.state_update import state_update as ssd_step
from model.kernels.triton_support import wanted
from model.layout import PackedLayout

__all__ = ["ssd", "ssd_reference", "ssd_step"]


def ssd(
    xBC: Tensor,
    dt: Tensor,
    A: Tensor,
    D: Tensor,
    shape: SSDShape,
    layout: PackedLayout,
    initial_states: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """xBC [T, H*P+2GN], dt [T, H] positive, A [H] negative, D [H] -> y [T, H*P] in xBC's dtype, final states fp32+."""
    if wanted(xBC):
        from model.kernels.ssd_triton import triton_ssd

        return triton_ssd(xBC, dt, A, D, shape, layout, initial_states)
    return chunked_ssd(xBC, dt, A, D, shape, layout, initial_states)


def ssd_reference(
    xBC: Tensor,
    dt: Tensor,
    A: Tensor,
    D: Tensor,
    shape: SSDShape,
    layout: PackedLayout,
    initial_states: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The specification: one token after the other, each sequence on its own."""
    wide = torch.promote_types(xBC.dtype, torch.float32)
    dt, A, D = dt.to(wide), A.to(wide), D.to(wide)
    x, b, c = (part.to(wide) for part in shape.split(xBC))
    # Numbers per head become numbers per channel, [.., G, R*P].
    dt_channel, A_channel, D_channel = (
        part.repeat_interleave(shape.head_dim, -1).unflatten(-1, (shape.num_groups, -1)) for part in (dt, A, D)
    )
    outputs, finals = [], []
    for sequence, (start, length) in enumerate(zip(layout.starts.tolist(), layout.lengths.tolist(), strict=True)):
        state = torch.zeros(shape.states(1)[1:], dtype=wide, device=xBC.device)
        if initial_states is not None:
            state = initial_states[sequence].to(wide)
        for t in range(start, start + length):
            # 1. decay the state, 2. add the outer product of B and dt x, 3. read it with C and add the skip
            decay = torch.exp(dt_channel[t] * A_channel)[:, None]
            state = decay * state + b[t][..., None] * (dt_channel[t] * x[t])[:, None]
            outputs.append((torch.einsum("gn,gnr->gr", c[t], state) + D_channel * x[t]).flatten())
        finals.append(state)
    return torch.stack(outputs).to(xBC.dtype), torch.stack(finals)
