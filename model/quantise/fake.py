"""Fake quantisation: a model computes with the numbers that FP8 leaves, in its own dtype and with gradients.

    y = fq(x, s_x) fq(W, s_W)^T          fq: to e4m3 and back (`kernels.fp8`), its gradient straight through

Bit for bit what a checkpoint written with the same scales gives, dequantised; weights stay the parameters they were, so
such a model can be trained on (quantisation-aware) and saved. Decoding reads weights directly and is not affected:
measure with forward or prefill, or decode what `quantise.checkpoint` has read back.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn

from model.kernels.experts import relu_squared, routed_experts
from model.kernels.fp8 import fake_quantise
from model.kernels.linear import linear, linear_add
from model.kernels.router import Routing
from model.layers.linear import Linear
from model.layers.moe import Experts
from model.quantise.scales import Scales
from model.quantise.sites import (
    Make,
    Site,
    WrappedExperts,
    WrappedLinear,
    experts_of,
    linear_of,
    substitute,
    substituted,
)
from model.stack import HybridModel


def fake_quantise_model(model: HybridModel, scales: Scales, activations: bool = True) -> list[Site]:
    """Quantise in place, as far as `scales` name layers; without `activations` weights alone (and no cache)."""
    return substitute(model, _maker(scales, activations))


def fake_quantised(model: HybridModel, scales: Scales, activations: bool = True) -> AbstractContextManager[None]:
    """As `fake_quantise_model` for the length of a `with` block."""
    return substituted(model, _maker(scales, activations))


def _maker(scales: Scales, activations: bool) -> Make:
    def make(site: Site) -> nn.Module | None:
        if isinstance(site.module, Experts):
            if site.names[0] not in scales.weights:
                return None
            return FakeExperts(experts_of(site), site.names, scales, activations)
        here = [name in scales.weights for name in site.names]
        if any(here) and not all(here):
            raise ValueError(f"{', '.join(site.names)} share one product: quantise all of them or none")
        inner = linear_of(site)
        new = FakeLinear(inner, site, scales, activations) if all(here) else inner
        if activations and len(site.names) == 3 and scales.cache:
            return CachedLinear(new, site.rows, [scales.cache[name] for name in site.names[1:]])
        return None if new is inner else new

    return make


class FakeLinear(WrappedLinear):
    """Weight and, when asked, input rounded to e4m3 on the way in."""

    def __init__(self, inner: Linear, site: Site, scales: Scales, activations: bool) -> None:
        super().__init__(inner)
        self.rows = site.rows
        self.weight_scales = [scales.weights[name] for name in site.names]
        self.input_scale = scales.inputs[site.names[0]] if activations else None

    def forward(self, x: Tensor) -> Tensor:
        return linear(self._input(x), self._weight())

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        return linear_add(residual, self._input(x), self._weight())

    def whole_weight(self) -> Tensor | None:
        return self._weight() if self.input_scale is None else None

    def _input(self, x: Tensor) -> Tensor:
        return x if self.input_scale is None else fake_quantise(x, self.input_scale)

    def _weight(self) -> Tensor:
        parts = zip(self.weight.split(self.rows), self.weight_scales, strict=True)
        rounded = [fake_quantise(part, scale) for part, scale in parts]
        return rounded[0] if len(rounded) == 1 else torch.cat(rounded)


class FakeExperts(WrappedExperts):
    """Every expert with scales of its own."""

    def __init__(self, inner: Experts, names: tuple[str, ...], scales: Scales, activations: bool) -> None:
        super().__init__(inner)
        count = len(inner.up_proj)
        self.weight_scales = [scales.weights[name] for name in names]
        self.input_scales = [scales.inputs[name] for name in names] if activations else None
        self.num_experts = count

    def whole_weights(self) -> tuple[Tensor, Tensor] | None:
        if self.input_scales is not None:
            return None
        ups, downs = self._rounded()
        return torch.stack(ups), torch.stack(downs)

    def _rounded(self) -> tuple[list[Tensor], list[Tensor]]:
        up_scales, down_scales = self.weight_scales[: self.num_experts], self.weight_scales[self.num_experts :]
        ups = [fake_quantise(w, s) for w, s in zip(self.up_proj, up_scales, strict=True)]
        return ups, [fake_quantise(w, s) for w, s in zip(self.down_proj, down_scales, strict=True)]

    def forward(self, x: Tensor, routing: Routing) -> Tensor:
        ups, downs = self._rounded()
        if self.input_scales is None:
            return routed_experts(x, routing, torch.stack(ups), torch.stack(downs))
        return experts_one_by_one(x, routing, ups, [down.t().contiguous() for down in downs], self.input_scales)


def experts_one_by_one(
    x: Tensor, routing: Routing, ups: list[Tensor], downs: list[Tensor], input_scales: list[Tensor]
) -> Tensor:
    """x [T, D], up [I, D] and down [D, I] per expert, input scales of all up, then all down -> [T, D].

    Inputs are rounded to e4m3 per expert; products add up in fp32 at least, in the order of the experts.
    """
    wide = torch.promote_types(x.dtype, torch.float32)
    y = torch.zeros_like(x, dtype=wide)
    for e, (up, down) in enumerate(zip(ups, downs, strict=True)):
        token, place = torch.where(routing.experts == e)
        if not len(token):
            continue
        hidden = relu_squared(linear(fake_quantise(x[token], input_scales[e]), up))
        out = linear(fake_quantise(hidden, input_scales[len(ups) + e]), down)
        y = y.index_add(0, token, out.to(wide) * routing.weights[token, place, None].to(wide))
    return y.to(x.dtype)


class CachedLinear(nn.Module):
    """The joint projection of queries, keys and values, the last two as an FP8 cache gives them back."""

    def __init__(self, inner: Linear, rows: tuple[int, ...], cache_scales: list[Tensor]) -> None:
        super().__init__()
        self.inner, self.rows, self.cache_scales = inner, rows, cache_scales

    @property
    def weight(self) -> nn.Parameter:
        return self.inner.weight

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.inner(x).split(self.rows, -1)
        return torch.cat((q, *(fake_quantise(part, s) for part, s in zip((k, v), self.cache_scales, strict=True))), -1)
