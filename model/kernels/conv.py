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

from model.kernels.conv_state import head_pre_activations, state_gradient, without_repeats
from model.kernels.triton_support import wanted
from model.layout import PackedLayout


def causal_conv(
    x: Tensor, weight: Tensor, bias: Tensor, layout: PackedLayout, initial_state: Tensor | None = None
) -> Tensor:
    """x [T, C], weight [K, C], bias [C], initial_state [B, K-1, C] (None: zeros) -> [T, C] in the dtype of x."""
    if wanted(x):
        from model.kernels.conv_triton import triton_causal_conv

        return triton_causal_conv(x, weight, bias, layout, initial_state)
    result: Tensor = _CausalConv.apply(x, weight, bias, layout, initial_state)
    return result


def causal_conv_final_state(x: Tensor, layout: PackedLayout, initial_state: Tensor | None = None) -> Tensor:
    """The last K-1 inputs of each sequence [B, K-1, C], reaching back into the initial state if it is shorter."""
    edges = layout.edges
    tail = x[edges.tail_rows]
    if initial_state is None:
        return tail.masked_fill_((edges.tail_from_state >= 0)[..., None], 0)
    slot = edges.tail_from_state
    older = initial_state.gather(1, slot.clamp(min=0)[..., None].expand_as(tail)).to(tail.dtype)
    return torch.where((slot >= 0)[..., None], older, tail)


def causal_conv_step(x: Tensor, state: Tensor, weight: Tensor, bias: Tensor, slots: Tensor | None = None) -> Tensor:
    """One token per sequence: x [B, C], state [S, K-1, C] (shifted in place), weight [K, C] -> [B, C].

    slots [B]: which state each row continues, each at most once; None: row b continues state b.
    """
    if wanted(x) and not torch.is_grad_enabled():
        from model.kernels.conv_triton import triton_causal_conv_step

        return triton_causal_conv_step(x, state, weight, bias, slots)
    if slots is not None:
        mine = state.index_select(0, slots)
        y = causal_conv_step(x, mine, weight, bias)
        state.index_copy_(0, slots, mine)
        return y
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
        # The first K-1 rows of each sequence looked into the one before.
        heads = head_pre_activations(inputs, taps, offset, layout, initial_state)
        pre.index_copy_(0, layout.edges.head_targets, heads.flatten(0, 1).index_select(0, layout.edges.head_pairs))
        ctx.save_for_backward(x, weight, bias, pre, *(() if initial_state is None else (initial_state,)))
        ctx.layout = layout
        return F.silu(pre).to(x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, pre, *state = ctx.saved_tensors
        layout: PackedLayout = ctx.layout
        inputs, taps = x.to(pre.dtype), weight.to(pre.dtype)
        width = len(taps) - 1
        total = len(inputs)
        grad_pre = torch.ops.aten.silu_backward(grad.to(pre.dtype), pre)
        grad_weight = torch.zeros_like(taps)
        grad_state = None
        if state:
            heads = without_repeats(grad_pre[layout.edges.head_rows], layout)
            _add_state_taps(grad_weight, heads, state[0].to(pre.dtype))
            grad_state = state_gradient(heads, taps).to(state[0].dtype) if ctx.needs_input_grad[4] else None
        grad_bias = grad_pre.sum(0)
        grad_x = grad_pre * taps[width]
        grad_weight[width] = (grad_pre * inputs).sum(0)
        for m in range(1, min(width, total - 1) + 1):
            # Token m-1 of a sequence has no m-th predecessor: its gradient leaves the sums from here on.
            grad_pre.index_fill_(0, layout.edges.at_position[m - 1], 0)
            grad_x[: total - m].addcmul_(grad_pre[m:], taps[width - m])
            grad_weight[width - m] += (grad_pre[m:] * inputs[: total - m]).sum(0)
        return grad_x.to(x.dtype), grad_weight.to(weight.dtype), grad_bias.to(bias.dtype), None, grad_state


def _add_state_taps(grad_weight: Tensor, heads: Tensor, state: Tensor) -> None:
    """Add what the initial state contributes to the weight gradient; heads and state [B, K-1, C]."""
    width = state.shape[1]
    for m in range(1, width + 1):
        # x_{t-m} lies in the state for t < m: state row width - m + t.
        grad_weight[width - m] += (heads[:, :m] * state[:, width - m :]).sum((0, 1))
