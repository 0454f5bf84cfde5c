"""Layers of one kind with weights that matter, and their outcomes through the compiled form and step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import Tensor

from model.config import HybridConfig
from model.kernels.native import build as native_build
from model.layers import native as native_layers
from model.layers.block import Block
from model.layers.moe import MoEMixer
from model.layout import PackedLayout

Outcome = dict[str, Tensor]


@pytest.fixture(autouse=True)
def compiled(native: None) -> None:
    """Every test here is of a compiled form."""


@pytest.fixture(scope="session")
def layer() -> Callable[..., tuple[Block, HybridConfig]]:
    """layer("M", dtype, **overrides of the tiny shape) -> the block and its configuration."""

    def make(kind: str, dtype: torch.dtype = torch.float64, **overrides: Any) -> tuple[Block, HybridConfig]:
        config = HybridConfig.tiny(32, **overrides)
        block = Block(kind, config, None, dtype)
        draw = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for parameter in block.parameters():
                shape = parameter.shape
                scale = shape[-1] ** -0.5 if len(shape) > 1 else 0.5
                parameter.copy_(torch.randn(shape, generator=draw) * scale + (len(shape) == 1))
            if isinstance(block.mixer, MoEMixer):
                bias = block.mixer.gate.e_score_correction_bias
                bias.copy_(torch.randn(bias.shape, generator=draw) * 0.1 + 64)
        return block, config

    return make


@pytest.fixture(scope="session")
def layout_of() -> Callable[..., PackedLayout]:
    def make(lengths: list[int], config: HybridConfig) -> PackedLayout:
        return PackedLayout(torch.tensor([0, *lengths]).cumsum(0), config.chunk_size, config.conv_kernel)

    return make


@pytest.fixture(scope="session")
def outcome() -> Callable[..., Outcome]:
    """outcome(block, x, layout, compiled): the output and every gradient, the output met by fixed numbers."""

    def run(block: Block, x: Tensor, layout: PackedLayout, compiled: bool) -> Outcome:
        with patch.object(native_build, "wanted", lambda: compiled):
            assert native_layers.takes(x, block.norm, block.mixer, layout) == compiled
            leaf = x.detach().clone().requires_grad_()
            y = block(leaf, layout)
            upstream = torch.randn(y.shape, generator=torch.Generator().manual_seed(4)).to(y.dtype)
            names, weights = zip(*block.named_parameters(), strict=True)
            grads = torch.autograd.grad(y, [leaf, *weights], upstream)
        return {"y": y.detach(), "x": grads[0], **dict(zip(names, grads[1:], strict=True))}

    return run


@pytest.fixture(scope="session")
def agree() -> Callable[[Outcome, Outcome, float], None]:
    """agree(ours, expected, tolerance): everything, within this share of its largest number."""

    def check(ours: Outcome, expected: Outcome, tolerance: float) -> None:
        assert ours.keys() == expected.keys()
        for name, want in expected.items():
            assert torch.isfinite(ours[name]).all(), name
            assert (ours[name] - want).abs().max() <= tolerance * want.abs().max() + 1e-12, name

    return check
