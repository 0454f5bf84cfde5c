"""The state-space recurrence one token at a time, in place: what decoding does with its states.

Per head h with group g:  dt = softplus(dt + dt_bias)  (without dt_bias: as it is),
    S = exp(dt A_h) S + B (dt x)^T,   y = S^T C + D_h x,   with z: y silu(z)       (Mamba-2, 2405.21060, section 7)

States are fp32 at least and stay so. A step reads and writes every state once and does five operations per number of
it: on any machine its time is that of the memory.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from model.kernels.ssd_shape import SSDShape
from model.kernels.triton_support import wanted


def state_update(
    xBC: Tensor,
    dt: Tensor,
    A: Tensor,
    D: Tensor,
    shape: SSDShape,
    state: Tensor,
    *,
    dt_bias: Tensor | None = None,
    z: Tensor | None = None,
    slots: Tensor | None = None,
) -> Tensor:
    """One token per sequence: xBC [B, H*P+2GN], dt [B, H], A and D [H] -> y [B, H*P] in the dtype of xBC.

    state [S, G, N, R*P] is updated in place. dt_bias [H]: dt is raw and gets bias and softplus here (None: dt is
    positive already). z [B, H*P]: gates y. slots [B]: which state each row continues, each at most once (None: row b
    continues state b).
    """
    if wanted(xBC) and state.dtype == torch.float32 and not torch.is_grad_enabled():
        from model.kernels.state_update_triton import triton_state_update

        return triton_state_update(xBC, dt, A, D, shape, state, dt_bias, z, slots)
    if slots is not None:
        mine = state.index_select(0, slots)
        y = state_update(xBC, dt, A, D, shape, mine, dt_bias=dt_bias, z=z)
        state.index_copy_(0, slots, mine)
        return y
    if dt_bias is not None:
        dt = F.softplus(dt.to(state.dtype) + dt_bias)
    y = _update(xBC.to(state.dtype), dt, A, D, shape, state)
    return (y if z is None else y * F.silu(z.to(y.dtype))).to(xBC.dtype)


def state_update_reference(
    xBC: Tensor,
    dt: Tensor,
    A: Tensor,
    D: Tensor,
    shape: SSDShape,
    state: Tensor,
    dt_bias: Tensor | None = None,
    z: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The specification, head by head: y and the new states; `state` stays as it is."""
    wide = torch.promote_types(xBC.dtype, torch.float32)
    x, b, c = (part.to(wide) for part in shape.split(xBC))
    width = shape.head_dim
    outputs, states = torch.zeros_like(x), state.to(wide).clone()
    for head in range(shape.num_heads):
        group, first = divmod(head * width, shape.group_width)
        here = (slice(None), group, ..., slice(first, first + width))
        # 1. the step size
        step = dt[:, head, None].to(wide)
        if dt_bias is not None:
            step = F.softplus(step + dt_bias[head].to(wide))
        # 2. decay the state and add the outer product of B and dt x
        decay = torch.exp(step * A[head].to(wide))[..., None]
        states[here] = decay * states[here] + b[:, group, :, None] * (step * x[here])[:, None]
        # 3. read it with C, add the skip, gate
        outputs[here] = torch.einsum("bn,bnp->bp", c[:, group], states[here]) + D[head].to(wide) * x[here]
    y = outputs.flatten(1)
    return (y if z is None else y * F.silu(z.to(wide))).to(xBC.dtype), states


def _update(xBC: Tensor, dt: Tensor, A: Tensor, D: Tensor, shape: SSDShape, state: Tensor) -> Tensor:
    """The heads of a group side by side, [B, G, N, R*P]: few operations, each over a whole layer's states."""
    batch = len(xBC)
    x, b, c = shape.split(xBC)
    by_head = x.reshape(batch, shape.num_heads, shape.head_dim)
    decay = torch.exp(dt * A)[..., None].expand_as(by_head).reshape(batch, shape.num_groups, 1, -1)
    u = (by_head * dt[..., None]).view(batch, shape.num_groups, 1, -1)
    state.mul_(decay).addcmul_(b[..., None], u)
    y = torch.matmul(c[:, :, None], state).view_as(by_head)
    return torch.addcmul(y, by_head, D[:, None]).flatten(1)
