"""The compiled Mamba-2 layer: going on from a state, and decays that vanish."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from model.kernels.native.mamba import mamba_layer, mamba_layer_from
from model.layers import native
from model.layers.mamba import MambaMixer
from model.layout import PackedLayout

LENGTHS = [11, 2, 30]


def parts(make: Callable[..., Any], chunk_size: int, **overrides: Any) -> tuple[Any, ...]:
    block, config = make("M", chunk_size=chunk_size, **overrides)
    assert isinstance(block.mixer, MambaMixer)
    return native.mamba_weights(block.norm, block.mixer), block.mixer.shape, block.eps, config


@pytest.mark.parametrize("chunk_size", [1, 4, 7, 64])
def test_any_chunk_gives_the_recurrence(chunk_size: int, layer: Any, layout_of: Any) -> None:
    weights, shape, eps, config = parts(layer, 1)
    x = torch.randn(sum(LENGTHS), config.hidden_size, dtype=torch.float64)
    expected = mamba_layer(x, weights, shape, eps, layout_of(LENGTHS, config))
    bounds = torch.tensor([0, *LENGTHS]).cumsum(0)
    found = mamba_layer(x, weights, shape, eps, PackedLayout(bounds, chunk_size, config.conv_kernel))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("cut", [1, 2, 3, 8, 13])
def test_reading_goes_on_where_it_stopped(cut: int, layer: Any, layout_of: Any) -> None:
    weights, shape, eps, config = parts(layer, 8)
    lengths = [20, 14]
    x = [torch.randn(n, config.hidden_size, dtype=torch.float64) for n in lengths]
    whole = mamba_layer_from(torch.cat(x), weights, shape, eps, layout_of(lengths, config), None, None)
    begun = [part[:cut] for part in x]
    first, conv, ssm = mamba_layer_from(
        torch.cat(begun), weights, shape, eps, layout_of([cut, cut], config), None, None
    )
    rest = layout_of([n - cut for n in lengths], config)
    second, conv, ssm = mamba_layer_from(torch.cat([part[cut:] for part in x]), weights, shape, eps, rest, conv, ssm)
    joined = [torch.cat(pair) for pair in zip(first.split(cut), second.split([n - cut for n in lengths]), strict=True)]
    for found, expected in zip((torch.cat(joined), conv, ssm), whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_state_that_vanishes_leaves_zeros_and_no_nan(dtype: torch.dtype, layer: Any, layout_of: Any) -> None:
    block, config = layer("M", dtype)
    with torch.no_grad():
        block.mixer.A_log.fill_(8.0)  # A about -3000
        block.mixer.dt_bias.fill_(40.0)
    x = torch.randn(70, config.hidden_size).to(dtype).requires_grad_()
    y: Tensor = block(x, layout_of([70], config))
    y.sum().backward()
    assert torch.isfinite(y).all() and all(torch.isfinite(p.grad).all() for p in (x, *block.parameters()))
