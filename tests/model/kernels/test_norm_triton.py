"""The norms' Triton form: odd sizes, strided inputs, both dtypes, outputs and gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.kernels.norm import add_rms_norm_reference, gated_rms_norm_reference, rms_norm_reference

EPS = 1e-5
DTYPES = [torch.float32, torch.bfloat16]
pytestmark = pytest.mark.usefixtures("nan_buffers")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 8), (5, 7), (3, 2, 33)])
def test_rms_norm(
    triton_device: str, agree: Callable, draw: Callable, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    from model.kernels.norm_triton import triton_rms_norm

    leaves = [draw(*shape), draw(shape[-1])]
    agree(lambda x, w: triton_rms_norm(x, w, EPS), lambda x, w: rms_norm_reference(x, w, EPS), leaves, dtype,
          triton_device)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("tokens", "groups", "size"), [(1, 4, 3), (6, 1, 7), (3, 2, 8)])
def test_gated_norm_of_columns(
    triton_device: str, agree: Callable, draw: Callable, tokens: int, groups: int, size: int, dtype: torch.dtype
) -> None:
    from model.kernels.norm_triton import triton_gated_rms_norm

    width = groups * size

    def split(form: Callable[..., Tensor]) -> Callable[..., Tensor]:
        # As the Mamba layer has them: y on its own, z in the first columns of a wider tensor.
        return lambda y, zxbc, w: form(y, zxbc[:, :width], w, EPS, groups)

    leaves = [draw(tokens, width), draw(tokens, 2 * width + 1), draw(width)]
    agree(split(triton_gated_rms_norm), split(gated_rms_norm_reference), leaves, dtype, triton_device)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 5), (1, 16)])
def test_norm_with_residual(
    triton_device: str, agree: Callable, draw: Callable, shape: tuple[int, int], dtype: torch.dtype
) -> None:
    from model.kernels.norm_triton import triton_add_rms_norm

    leaves = [draw(*shape), draw(*shape), draw(shape[1])]
    agree(lambda x, r, w: triton_add_rms_norm(x, r, w, EPS), lambda x, r, w: add_rms_norm_reference(x, r, w, EPS),
          leaves, dtype, triton_device)  # fmt: skip


def test_many_rows_for_each_program(
    triton_device: str, agree: Callable, draw: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    from model.kernels import norm_triton

    # Two programs over 11 rows, two rows at a time: the gradient of the weight is added up in every way there is.
    monkeypatch.setattr(norm_triton, "_BACKWARD_PROGRAMS", 2)
    monkeypatch.setattr(norm_triton, "_TILE", 8)
    agree(lambda x, w: norm_triton.triton_rms_norm(x, w, EPS), lambda x, w: rms_norm_reference(x, w, EPS),
          [draw(11, 4), draw(4)], torch.float32, triton_device)  # fmt: skip


def test_no_rows(triton_device: str) -> None:
    from model.kernels.norm_triton import triton_rms_norm

    x = torch.zeros(0, 4, device=triton_device, requires_grad=True)
    weight = torch.ones(4, device=triton_device, requires_grad=True)
    triton_rms_norm(x, weight, EPS).sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == [0, 0, 0, 0]
