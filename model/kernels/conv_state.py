"""The convolution at the start of each sequence, where its windows reach into the state it continues from.

Token p of a sequence meets row r of its state [K-1, C] through tap r - p, for p <= r: only the first K-1 tokens do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.layout import PackedLayout


def head_pre_activations(
    x: Tensor, weight: Tensor, bias: Tensor, layout: PackedLayout, initial_state: Tensor | None
) -> Tensor:
    """b + the windows of the first K-1 rows of each sequence [B, K-1, C], in the dtype of x; rows repeat at its end."""
    width = len(weight) - 1
    heads = x[layout.edges.head_rows]
    before = torch.zeros_like(heads) if initial_state is None else initial_state.to(heads.dtype)
    window = torch.cat((before, heads), 1)
    pre = torch.addcmul(bias, window[:, width:], weight[width])
    for m in range(1, width + 1):
        pre.addcmul_(window[:, width - m : 2 * width - m], weight[width - m])
    return pre


def head_gradient(
    x: Tensor, weight: Tensor, bias: Tensor, layout: PackedLayout, initial_state: Tensor, grad: Tensor
) -> Tensor:
    """The gradient of those pre-activations [B, K-1, C] in fp32 at least, from that of the outputs [T, C]."""
    wide = torch.promote_types(x.dtype, torch.float32)
    pre = head_pre_activations(x.to(wide), weight.to(wide), bias.to(wide), layout, initial_state)
    grad_pre = torch.ops.aten.silu_backward(grad[layout.edges.head_rows].to(wide), pre)
    return without_repeats(grad_pre, layout)


def without_repeats(heads: Tensor, layout: PackedLayout) -> Tensor:
    """[B, K-1, C] with zeros (in place) where a sequence is shorter than K-1 and its last row was repeated."""
    short = torch.ones(heads.shape[:2], dtype=torch.bool, device=heads.device)
    short.view(-1)[layout.edges.head_pairs] = False
    return heads.masked_fill_(short[..., None], 0)


def state_gradient(grad_pre: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the initial states [B, K-1, C] from that of the first pre-activations [B, K-1, C]."""
    width = len(weight) - 1
    taps = weight.to(grad_pre.dtype)
    result = torch.zeros_like(grad_pre)
    for m in range(1, width + 1):
        # Token p < m lies m after state row width - m + p.
        result[:, width - m :].addcmul_(grad_pre[:, :m], taps[width - m])
    return result
