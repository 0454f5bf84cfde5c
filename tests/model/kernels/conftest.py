"""Triton kernels on the CPU, in Triton's interpreter, or on the GPU where there is one; and how forms are compared.

The interpreter has to be chosen before our Triton modules are first imported, so it is chosen here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
# Triton 3.9 warns at its first compilation unless told whether to fuse multiplications with additions.
os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "1")

Form = Callable[..., Any]
Results = list[Tensor]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def triton_device(request: pytest.FixtureRequest) -> str:
    """Where Triton kernels run: interpreted on CPU tensors, compiled on a GPU; what cannot be is skipped by name."""
    pytest.importorskip("triton", reason="Triton is not installed")
    on_gpu = torch.cuda.is_available()
    if request.param == "cuda" and not on_gpu:
        pytest.skip("no GPU: Triton kernels were run in the interpreter only")
    if request.param == "cpu" and on_gpu and os.environ.get("TRITON_INTERPRET") != "1":
        pytest.skip("kernels are compiled for the GPU here, not interpreted")
    return str(request.param)


@pytest.fixture
def nan_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that was not written is not a number, or a whole number that fits nowhere."""

    def spoiled(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def wrapper(*args: Any, **kwargs: Any) -> Tensor:
            buffer = make(*args, **kwargs)
            return buffer.fill_(float("nan") if buffer.is_floating_point() else 101)

        return wrapper

    for name in ("empty", "empty_like"):
        monkeypatch.setattr(torch, name, spoiled(getattr(torch, name)))
    monkeypatch.setattr(Tensor, "new_empty", spoiled(Tensor.new_empty))


@pytest.fixture
def draw() -> Callable[..., Tensor]:
    """draw(3, 4): normal numbers in fp64 that every dtype down to bf16 holds exactly; the same on every run."""
    generator = torch.Generator().manual_seed(11)
    return lambda *shape: torch.randn(shape, generator=generator).bfloat16().double()


@pytest.fixture
def results() -> Callable[..., Results]:
    """results(form, leaves, dtype, device): outputs and gradients of form(*leaves), in fp64 on the CPU.

    Outputs are met by fixed gradients that bf16 holds exactly. Leaves of whole numbers are passed on as they are.
    """

    def evaluate(form: Form, leaves: Sequence[Tensor], dtype: torch.dtype, device: str = "cpu") -> Results:
        used = [
            leaf.detach().to(device, dtype).requires_grad_() if leaf.is_floating_point() else leaf.to(device)
            for leaf in leaves
        ]
        outputs = form(*used)
        outputs = [outputs] if isinstance(outputs, Tensor) else list(outputs)
        generator = torch.Generator().manual_seed(12)
        grads = [torch.randn(y.shape, generator=generator).bfloat16().to(y.device, y.dtype) for y in outputs]
        torch.autograd.backward(outputs, grads)
        found = [*outputs, *(leaf.grad for leaf in used if leaf.is_floating_point())]
        return [part.detach().cpu().double() for part in found]

    return evaluate


@pytest.fixture
def agree(results: Callable[..., Results]) -> Callable[..., None]:
    """agree(form, reference, leaves, dtype, device): outputs and gradients against the reference in fp64.

    fp32: within 1e-5 of the largest number. bf16: an error, as a norm, of at most twice that of `narrow`, which is
    the reference computed in bf16 unless another is given. Nothing may be left unwritten.
    """

    def check(
        form: Form,
        reference: Form,
        leaves: Sequence[Tensor],
        dtype: torch.dtype,
        device: str = "cpu",
        narrow: Form | None = None,
    ) -> None:
        exact = results(reference, leaves, torch.float64)
        ours = results(form, leaves, dtype, device)
        rounded = results(narrow or reference, leaves, dtype) if dtype == torch.bfloat16 else exact
        for number, (got, want, by_torch) in enumerate(zip(ours, exact, rounded, strict=True)):
            assert got.shape == want.shape and torch.isfinite(got).all(), number
            if not want.numel():
                continue
            if dtype == torch.bfloat16:
                allowed = 2 * (by_torch - want).norm() + 1e-6 * want.norm()
                assert (got - want).norm() <= allowed, (number, (got - want).norm(), allowed)
            else:
                assert (got - want).abs().max() <= 1e-5 * want.abs().max() + 1e-12, number

    return check
