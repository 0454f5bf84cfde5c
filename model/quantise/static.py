"""Layers that hold their weights in e4m3, one byte a number, with a static scale for weight and input.

Two ways to multiply: `torch._scaled_mm` on the e4m3 numbers themselves (`kernels.fp8.linear_fp8`), or emulated, with
both operands taken back to the model's dtype first, which equals fake quantisation bit for bit. No gradients: these
layers serve and score. `weight`, `up_proj` and `down_proj` are made anew from the e4m3 numbers at each reading.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.kernels.experts import relu_squared
from model.kernels.fp8 import E4M3, dequantise, fake_quantise, linear_fp8
from model.kernels.linear import linear, linear_add
from model.kernels.router import Routing
from model.quantise.fake import experts_one_by_one


class Fp8Linear(nn.Module):
    """q_weight [O, I] e4m3; stands where a `Linear` stood."""

    q_weight: Tensor
    weight_scale: Tensor
    input_scale: Tensor

    def __init__(self, q_weight: Tensor, weight_scale: Tensor, input_scale: Tensor, dtype: torch.dtype, emulate: bool):
        super().__init__()
        self.register_buffer("q_weight", q_weight)
        self.register_buffer("weight_scale", weight_scale)
        self.register_buffer("input_scale", input_scale)
        self.compute_dtype, self.emulate = dtype, emulate

    @property
    def weight(self) -> Tensor:
        return dequantise(self.q_weight, self.weight_scale, self.compute_dtype)

    def forward(self, x: Tensor) -> Tensor:
        if self.emulate:
            return linear(fake_quantise(x, self.input_scale), self.weight)
        return linear_fp8(x, self.q_weight, self.input_scale, self.weight_scale)

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        if self.emulate:
            return linear_add(residual, fake_quantise(x, self.input_scale), self.weight)
        return residual + self.forward(x)


class Fp8Experts(nn.Module):
    """q_up [E, I, D] and q_down [E, D, I] e4m3 as released; scales [2 E], all up, then all down."""

    q_up: Tensor
    q_down: Tensor
    weight_scales: Tensor
    input_scales: Tensor

    def __init__(
        self,
        q_up: Tensor,
        q_down: Tensor,
        weight_scales: Tensor,
        input_scales: Tensor,
        dtype: torch.dtype,
        emulate: bool,
    ) -> None:
        super().__init__()
        assert q_up.dtype == q_down.dtype == E4M3
        self.register_buffer("q_up", q_up)
        self.register_buffer("q_down", q_down)
        self.register_buffer("weight_scales", weight_scales)
        self.register_buffer("input_scales", input_scales)
        self.compute_dtype, self.emulate = dtype, emulate

    @property
    def up_proj(self) -> Tensor:
        """[E, I, D], all experts."""
        return torch.stack(self._weights(self.q_up, 0))

    @property
    def down_proj(self) -> Tensor:
        """[E, I, D], the transpose of the released matrices."""
        return torch.stack(self._weights(self.q_down, len(self.q_up))).mT.contiguous()

    def forward(self, x: Tensor, routing: Routing) -> Tensor:
        """x [T, D] -> the weighted sum of each token's experts [T, D]."""
        if self.emulate:
            ups, downs = self._weights(self.q_up, 0), self._weights(self.q_down, len(self.q_up))
            return experts_one_by_one(x, routing, ups, downs, list(self.input_scales))
        y = torch.zeros_like(x, dtype=torch.promote_types(x.dtype, torch.float32))
        for e, (up, down) in enumerate(zip(self.q_up, self.q_down, strict=True)):
            token, place = torch.where(routing.experts == e)
            if not len(token):
                continue
            other = e + len(self.q_up)
            hidden = relu_squared(linear_fp8(x[token], up, self.input_scales[e], self.weight_scales[e]))
            out = linear_fp8(hidden, down, self.input_scales[other], self.weight_scales[other])
            y = y.index_add(0, token, out.to(y.dtype) * routing.weights[token, place, None].to(y.dtype))
        return y.to(x.dtype)

    def _weights(self, q: Tensor, first: int) -> list[Tensor]:
        return [dequantise(part, s, self.compute_dtype) for part, s in zip(q, self.weight_scales[first:], strict=False)]
