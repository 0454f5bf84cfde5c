"""FP8 training of linear layers, an option for GPUs that multiply e4m3 (off unless asked for).

    forward    y  = q4(x) q4(W)^T               q4: e4m3, q5: e5m2, each with the scale of this very tensor,
    backward   dx = q5(g) q4(W)                 s = amax / largest number of the format (2209.05433, section 3)
               dW = q5(g)^T q4(x)

Weights, gradients of weights and the optimiser keep their dtype; x and W are kept for backward as e4m3, one byte a
number. Scales never leave the device: a number that is not finite makes the outcome not finite, which the learner
refuses. The layers are those of the rule that are single linear layers with sizes in sixteens: the Mamba projections
and shared experts. Routed experts, attention and the head keep their dtype.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from model.kernels.fp8 import E4M3, LARGEST, scaled_product_takes
from model.quantise.sites import Site, WrappedLinear, linear_of, quantised_linears, substitute
from model.stack import HybridModel

E5M2 = torch.float8_e5m2
_LARGEST = {E4M3: LARGEST, E5M2: 57344.0}
_STEP = 16


def enable_fp8_training(model: HybridModel) -> list[str]:
    """Let the layers of the rule compute in FP8 from now on; their parameters stay the same objects.

    Returns the released names of the layers that do.
    """
    wanted = set(quantised_linears(model.config))

    def make(site: Site) -> nn.Module | None:
        if len(site.names) > 1 or site.names[0] not in wanted:
            return None
        inner = linear_of(site)
        return Fp8TrainedLinear(inner) if all(size % _STEP == 0 for size in inner.weight.shape) else None

    return [name for site in substitute(model, make) for name in site.names]


def disable_fp8_training(model: HybridModel) -> None:
    """Back to products in the model's dtype."""
    substitute(model, lambda site: WrappedLinear(site.module) if isinstance(site.module, Fp8TrainedLinear) else None)


class Fp8TrainedLinear(WrappedLinear):
    """A linear layer whose three products, forward and backward, have FP8 operands."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = _Fp8Product.apply(x, self.weight)
        return y

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        return residual + self.forward(x)


def quantise_dynamic(x: Tensor, kind: torch.dtype) -> tuple[Tensor, Tensor]:
    """x -> its numbers in `kind` (e4m3 or e5m2) and their fp32 scale; a tensor of zeros has scale 1."""
    wide = x.detach().to(torch.float32)
    largest = _LARGEST[kind]
    amax = wide.abs().amax() if wide.numel() else wide.new_zeros(())
    # Not a number compares as false, so it must be let through first: it has to be seen.
    scale = torch.where(amax == 0, torch.ones_like(amax), (amax / largest).clamp(min=torch.finfo(torch.float32).tiny))
    return (wide / scale).clamp_(-largest, largest).to(kind), scale


def product(a: Tensor, b: Tensor, a_scale: Tensor, b_scale: Tensor, dtype: torch.dtype) -> Tensor:
    """a [M, K] and b [N, K] in FP8 -> a b^T times both scales [M, N], added up in fp32."""
    if scaled_product_takes(a, b):
        wide = dtype if dtype in (torch.bfloat16, torch.float16) else torch.float32
        y: Tensor = torch._scaled_mm(a, b.t(), scale_a=a_scale, scale_b=b_scale, out_dtype=wide)
        return y.to(dtype)
    return (a.to(torch.float32) @ b.to(torch.float32).t() * (a_scale * b_scale)).to(dtype)


class _Fp8Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        q_x, x_scale = quantise_dynamic(x, E4M3)
        q_weight, weight_scale = quantise_dynamic(weight, E4M3)
        ctx.save_for_backward(q_x, q_weight, x_scale, weight_scale)
        ctx.dtypes = x.dtype, weight.dtype
        return product(q_x, q_weight, x_scale, weight_scale, x.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
        q_x, q_weight, x_scale, weight_scale = ctx.saved_tensors
        x_dtype, weight_dtype = ctx.dtypes
        g, g_scale = quantise_dynamic(grad, E5M2)
        dx = dw = None
        if ctx.needs_input_grad[0]:
            dx = product(g, q_weight.t().contiguous(), g_scale, weight_scale, x_dtype)
        if ctx.needs_input_grad[1]:
            dw = product(_turned(g), _turned(q_x), g_scale, x_scale, weight_dtype)
        return dx, dw


def _turned(q: Tensor) -> Tensor:
    """[T, N] -> [N, T'], with zeros up to a multiple of sixteen tokens, which the products want."""
    bits = F.pad(q.t().view(torch.uint8), (0, -len(q) % _STEP))
    return bits.contiguous().view(q.dtype)
