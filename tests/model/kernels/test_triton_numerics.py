# mypy: allow-incomplete-defs
"""Roundings and functions as the kernels compute them, against torch."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed")

import triton
import triton.language as tl

from model.kernels.triton_numerics import cast, dot, sigmoid, softplus


@triton.jit
def _unary(x, y, SIZE: tl.constexpr, KIND: tl.constexpr):
    at = tl.arange(0, SIZE)
    value = tl.load(x + at)
    if KIND == 0:
        result = cast(value, y.dtype.element_ty)
    elif KIND == 1:
        result = sigmoid(value)
    else:
        result = softplus(value)
    tl.store(y + at, result)


@triton.jit
def _product(a, b, y, SIZE: tl.constexpr):
    row = tl.arange(0, SIZE)
    at = row[:, None] * SIZE + row[None, :]
    tl.store(y + at, dot(tl.load(a + at), tl.load(b + at)))


def test_bf16_is_rounded_to_nearest_even(triton_device: str) -> None:
    # 1 + 1/256 lies half way between 1 and 1 + 1/128, 1 + 3/256 half way between 1 + 1/128 and 1 + 1/64
    special = [1.00390625, 1.01171875, -1.00390625, 255.99, 3.4e38, float("inf"), float("nan"), 0.0]
    x = torch.cat((torch.tensor(special), torch.randn(56))).to(triton_device)
    y = torch.zeros(64, dtype=torch.bfloat16, device=triton_device)
    _unary[(1,)](x, y, SIZE=64, KIND=0)
    assert torch.equal(y.cpu().view(torch.int16)[:6], x.cpu().bfloat16().view(torch.int16)[:6])
    assert torch.equal(y.cpu()[7:], x.cpu().bfloat16()[7:]) and y[6].isnan()


@pytest.mark.parametrize(("kind", "function"), [(1, torch.sigmoid), (2, torch.nn.functional.softplus)])
def test_functions_keep_their_relative_precision(
    kind: int, function: Callable[[torch.Tensor], torch.Tensor], triton_device: str
) -> None:
    x = torch.linspace(-80, 80, 256, device=triton_device)
    y = torch.empty_like(x)
    _unary[(1,)](x, y, SIZE=256, KIND=kind)
    exact = function(x.cpu().double())
    assert ((y.cpu().double() - exact).abs() <= 1e-6 * exact.abs() + 1e-37).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_products_add_up_in_fp32(dtype: torch.dtype, triton_device: str) -> None:
    a, b = (torch.randn(16, 16).to(triton_device, dtype) for _ in range(2))
    y = torch.empty(16, 16, device=triton_device)
    _product[(1,)](a, b, y, SIZE=16)
    torch.testing.assert_close(y.double(), a.double() @ b.double(), rtol=1e-5, atol=1e-5)
