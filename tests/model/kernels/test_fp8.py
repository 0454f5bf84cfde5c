"""FP8: rounding worked by hand, clamping, fake quantisation bit for bit, the library's product and its emulation."""

from __future__ import annotations

import pytest
import torch

from model.kernels import fp8
from model.kernels.fp8 import (
    E4M3,
    dequantise,
    fake_quantise,
    linear_fp8,
    linear_fp8_reference,
    quantise,
    quantise_reference,
    scale_of,
)

ONE = torch.tensor(1.0)


def all_e4m3() -> torch.Tensor:
    """Every finite number of the format, 254 of them."""
    numbers = torch.arange(256, dtype=torch.uint8).view(E4M3)
    return numbers[torch.isfinite(numbers.float())]


def test_rounding_worked_by_hand() -> None:
    # steps of 1/8 of a power of two; ties go to the even one; below 2^-10 there is only zero
    x = torch.tensor([1.0, 1.0625, 1.1875, 17.0, 19.0, 2.0**-9, 2.0**-10, 1.01 * 2.0**-10, -300.0])
    assert dequantise(quantise(x, ONE), ONE, torch.float32).tolist() == [
        1.0, 1.0, 1.25, 16.0, 20.0, 2.0**-9, 0.0, 2.0**-9, -288.0,
    ]  # fmt: skip


def test_large_numbers_are_clamped_and_nan_stays() -> None:
    x = torch.tensor([1e9, -1e9, float("inf"), 449.0, float("nan")])
    back = quantise(x, ONE).float()
    assert back[:4].tolist() == [448.0, -448.0, 448.0, 448.0] and back[4].isnan()


def test_every_number_of_the_format_is_kept() -> None:
    for scale in (ONE, torch.tensor(0.25), torch.tensor(2.0**-20)):
        numbers = all_e4m3()
        assert torch.equal(quantise(numbers.float() * scale, scale).view(torch.uint8), numbers.view(torch.uint8))


def test_the_largest_number_seen_becomes_the_largest_there_is() -> None:
    x = torch.randn(50, generator=torch.Generator().manual_seed(0))
    scale = scale_of(x.abs().amax())
    assert scale.dtype == torch.float32
    assert quantise(x, scale).float().abs().max() == 448
    error = dequantise(quantise(x, scale), scale, torch.float32) - x
    # half a step: 1/16 of the number, or half of 2^-9 for the smallest
    assert (error.abs() <= torch.maximum(x.abs() / 16, scale * 2.0**-10) * (1 + 1e-6)).all()


def test_a_tensor_of_zeros_has_a_scale() -> None:
    scale = scale_of(torch.zeros(()))
    assert scale.item() == 1.0
    assert fake_quantise(torch.zeros(3), scale).tolist() == [0, 0, 0]
    assert scale_of(torch.tensor(1e-44)) > 0


@pytest.mark.parametrize("amax", [float("inf"), float("nan")])
def test_a_broken_calibration_is_refused(amax: float) -> None:
    with pytest.raises(ValueError, match="amax must be finite"):
        scale_of(torch.tensor(amax))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_fake_quantised_is_what_is_saved_and_loaded(dtype: torch.dtype) -> None:
    weight = torch.randn(40, 30, generator=torch.Generator().manual_seed(1)).to(dtype)
    scale = scale_of(weight.abs().amax())
    saved = quantise(weight, scale).view(torch.uint8).clone()
    loaded = dequantise(saved.view(E4M3), scale, dtype)
    assert torch.equal(fake_quantise(weight, scale), loaded)
    # once more changes nothing
    assert torch.equal(fake_quantise(loaded, scale), loaded)


def test_the_gradient_passes_where_nothing_was_clamped() -> None:
    x = torch.tensor([0.3, -448.0, 448.1, -1000.0, 2.0], requires_grad=True)
    (fake_quantise(x, ONE) * torch.arange(1.0, 6.0)).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0, 0.0, 0.0, 5.0]


@pytest.mark.parametrize(("tokens", "size_in", "size_out"), [(1, 16, 16), (7, 48, 32), (5, 9, 6), (0, 16, 16)])
def test_the_product_equals_its_emulation(tokens: int, size_in: int, size_out: int) -> None:
    draw = torch.Generator().manual_seed(2)
    x, weight = torch.randn(tokens, size_in, generator=draw), torch.randn(size_out, size_in, generator=draw)
    scales = torch.tensor(3.0 / 448), scale_of(weight.abs().amax())
    q = quantise(weight, scales[1])
    y = linear_fp8(x, q, *scales)
    torch.testing.assert_close(y, linear_fp8_reference(x, q, *scales), rtol=1e-5, atol=1e-5)
    # and both are the product of the dequantised numbers
    both = fake_quantise(x, scales[0]).double() @ dequantise(q, scales[1], torch.float64).t()
    torch.testing.assert_close(y.double(), both, rtol=1e-5, atol=1e-5)


def test_without_the_library_it_is_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(4, 16), torch.randn(16, 16)
    q = quantise(weight, ONE)
    with_library = linear_fp8(x, q, ONE, ONE)
    monkeypatch.setattr(fp8, "_has_scaled_product", lambda kind, index: False)
    torch.testing.assert_close(linear_fp8(x, q, ONE, ONE), with_library, rtol=1e-5, atol=1e-5)


def test_triton_form_is_bit_equal(triton_device: str, nan_buffers: None) -> None:
    from model.kernels.fp8_triton import triton_quantise

    draw = torch.Generator().manual_seed(3)
    x = torch.randn(3, 1500, generator=draw) * torch.rand(1500, generator=draw).mul(-18).exp2() * 30
    halves = (all_e4m3().float()[:-1] + all_e4m3().float()[1:]) / 2  # every tie between neighbours, and between signs
    special = torch.tensor([float("nan"), float("inf"), -float("inf"), 0.0, -0.0, 1e-30, 1e9])
    for numbers, scale in ((x, torch.tensor(0.037)), (halves, ONE), (special, ONE), (x.bfloat16(), torch.tensor(0.5))):
        found = triton_quantise(numbers.to(triton_device), scale.to(triton_device)).cpu().view(torch.uint8)
        expected = quantise_reference(numbers, scale).view(torch.uint8)
        nan = numbers.isnan()
        assert torch.equal(found[~nan], expected[~nan])
        assert found[nan].view(E4M3).float().isnan().all()
    assert triton_quantise(x[:0].to(triton_device), ONE.to(triton_device)).shape == (0, 1500)
