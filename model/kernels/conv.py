"""Causal depthwise convolution over packed sequences, bias and silu included (Mamba-2, 2405.21060, section 7.1).

y_t = silu(b + sum_k w_k x_{t-K+1+k}) per channel, where tokens before a sequence are its initial state or zero.
Weights are [K, C], not the released [C, 1, K]: on a CPU a row of channels is what vectorises.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.layout import PackedLayout


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor, layout: PackedLayout, initial_state: Tensor | None = None
) -> Tensor:
    """x [T, C], weight [K, C], bias [C], initial_state [B, K-1, C] (None: zeros) -> [T, C] in the dtype of x."""
    if x.device.type == "cpu" and not (initial_state is not None and initial_state.requires_grad):
        result: Tensor = _CausalConv.apply(x, weight, bias, layout, initial_state)
        return result
    return causal_conv_reference(x, weight, bias, layout, initial_state)


def causal_conv_final_state(x: Tensor, layout: PackedLayout, initial_state: Tensor | None = None) -> Tensor:
    """The last K-1 inputs of each sequence [B, K-1, C], reaching back into the initial state if it is shorter."""
    edges = layout.edges
    tail = x[edges.tail_rows]
    if initial_state is None:
        return tail.masked_fill_((edges.tail_from_state >= 0)[..., None], 0)
    slot = edges.tail_from_state
    older = initial_state.gather(1, slot.clamp(min=0)[..., None].expand_as(tail)).to(tail.dtype)
    return torch.where((slot >= 0)[..., None], older, tail)


def causal_conv_step(x: Tensor, state: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """One token per sequence: x [B, C], state [B, K-1, C] (shifted in place), weight [K, C] -> [B, C]."""
    window = torch.cat((state, x[:, None].to(state.dtype)), 1)
    state.copy_(window[:, 1:])
    wide = torch.promote_types(x.dtype, torch.float32)
    return F.silu((window.to(wide) * weight.to(wide)).sum(1).add_(bias)).to(x.dtype)


def causal_conv_reference(
    x: Tensor, weight: Tensor, bias: Tensor, layout: PackedLayout, initial_state: Tensor | None = None
) -> Tensor:
    """The specification: each sequence on its own, prefixed by its state."""
    width = weight.shape[0] - 1
    wide = torch.promote_types(x.dtype, torch.float32)
    outputs = []
    for b, (start, length) in enumerate(zip(layout.starts.tolist(), layout.lengths.tolist(), strict=True)):
        before = x.new_zeros(width, x.shape[1]) if initial_state is None else initial_state[b]
        padded = torch.cat((before.to(wide), x[start : start + length].to(wide)))
        windows = padded.unfold(0, width + 1, 1)  # [length, C, K]
        outputs.append(F.silu((windows * weight.to(wide).t()).sum(-1) + bias.to(wide)))
    return torch.cat(outputs).to(x.dtype)


class _CausalConv(torch.autograd.Function):
    """Shifted multiply-adds over the whole packed stream; the first K-1 rows of each sequence are then redone."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, layout: PackedLayout, initial_state: Tensor | None
    ) -> Tensor:
        wide = torch.promote_types(x.dtype, torch.float32)
        inputs, taps, offset = x.to(wide), weight.to(wide), bias.to(wide)
        width = len(taps) - 1
        total = len(inputs)
        pre = torch.addcmul(offset, inputs, taps[width])
        for m in range(1, min(width, total - 1) + 1):
            pre[m:].addcmul_(inputs[: total - m], taps[width - m])
        _redo_heads(pre, inputs, taps, offset, layout, initial_state)
        ctx.save_for_backward(x, weight, bias, pre, *(() if initial_state is None else (initial_state,)))
        ctx.layout = layout
        return F.silu(pre).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        x, weight, bias, pre, *state = ctx.saved_tensors
        layout: PackedLayout = ctx.layout
        inputs, taps = x.to(pre.dtype), weight.to(pre.dtype)
        width = len(taps) - 1
        total = len(inputs)
        grad_pre = torch.ops.aten.silu_backward(grad.to(pre.dtype), pre)
        grad_weight = torch.zeros_like(taps)
        if state:
            _add_state_taps(grad_weight, grad_pre, state[0].to(pre.dtype), layout)
        grad_bias = grad_pre.sum(0)
        grad_x = grad_pre * taps[width]
        grad_weight[width] = (grad_pre * inputs).sum(0)
        for m in range(1, min(width, total - 1) + 1):
            # Token m-1 of a sequence has no m-th predecessor: its gradient leaves the sums from here on.
            grad_pre.index_fill_(0, layout.edges.at_position[m - 1], 0)
            grad_x[: total - m].addcmul_(grad_pre[m:], taps[width - m])
            grad_weight[width - m] += (grad_pre[m:] * inputs[: total - m]).sum(0)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype), grad_bias.to(bias.dtype), None, None


def _head_windows(heads: Tensor, initial_state: Tensor | None) -> Tensor:
    """The states [B, K-1, C] followed by the first K-1 rows of each sequence [B, K-1, C]."""
    before = torch.zeros_like(heads) if initial_state is None else initial_state.to(heads.dtype)
    return torch.cat((before, heads), 1)


def _redo_heads(
    pre: Tensor, inputs: Tensor, taps: Tensor, bias: Tensor, layout: PackedLayout, initial_state: Tensor | None
) -> None:
    """Overwrite the pre-activations of the first K-1 tokens, whose plain shifts looked into the sequence before."""
    edges = layout.edges
    width = len(taps) - 1
    window = _head_windows(inputs[edges.head_rows], initial_state)
    head = torch.addcmul(bias, window[:, width:], taps[width])
    for m in range(1, width + 1):
        head.addcmul_(window[:, width - m : 2 * width - m], taps[width - m])
    pre.index_copy_(0, edges.head_targets, head.flatten(0, 1).index_select(0, edges.head_pairs))


def _add_state_taps(grad_weight: Tensor, grad_pre: Tensor, state: Tensor, layout: PackedLayout) -> None:
    """Add what the initial state contributes to the weight gradient (token m meets state row K-1-j through tap m-j)."""
    edges = layout.edges
    width = state.shape[1]
    exists = torch.zeros(edges.head_rows.numel(), dtype=torch.bool, device=state.device)
    exists[edges.head_pairs] = True
    heads = grad_pre[edges.head_rows].masked_fill_(~exists.view_as(edges.head_rows)[..., None], 0)
    for m in range(1, width + 1):
        # x_{t-m} lies in the state for t < m: state row width - m + t.
        grad_weight[width - m] += (heads[:, :m] * state[:, width - m :]).sum((0, 1))
