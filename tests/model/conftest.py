"""Builders for tests of the model: small hybrids in which every part matters, and packed batches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from model.config import HybridConfig
from model.kernels.native import build as native_build
from model.kernels.native.library import library
from model.stack import HybridModel

VOCABULARY = 97
Build = Callable[..., HybridModel]
Pack = Callable[..., tuple[Tensor, Tensor]]


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def native() -> None:
    """Whole layers go through their compiled forms; where nothing can be compiled, that is said."""
    for dtype in (torch.float32, torch.float64):
        if library(dtype) is None:
            pytest.skip("no C++ compiler: the compiled forms were not tested")


@pytest.fixture
def step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Layers are computed step by step, as without a compiler."""
    monkeypatch.setattr(native_build, "wanted", lambda: False)


@pytest.fixture(params=["native", "step_by_step"])
def form(request: pytest.FixtureRequest) -> str:
    """Each of the two in turn."""
    request.getfixturevalue(request.param)
    return str(request.param)


@pytest.fixture
def build() -> Build:
    """build(dtype, **overrides): two groups of two heads, weights large enough to matter, biases that choose."""

    def make(dtype: torch.dtype = torch.float32, seed: int = 0, **overrides: object) -> HybridModel:
        small = dict(hidden_size=32, mamba_num_heads=4, mamba_head_dim=8, n_groups=2, chunk_size=8, ssm_state_size=8)
        config = HybridConfig.tiny(VOCABULARY, **(small | dict(head_dim=8, initializer_range=0.15) | overrides))
        model = HybridModel(config, dtype=dtype, seed=seed)
        draw = torch.Generator().manual_seed(seed + 1)
        with torch.no_grad():
            for mixer in model.moe_layers():
                bias = mixer.gate.e_score_correction_bias
                bias.copy_(torch.randn(bias.shape, generator=draw) * 0.1)
            for name, parameter in model.named_parameters():
                if name.endswith(("norm.weight", "norm_f.weight", ".D")):
                    parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)
        return model

    return make


@pytest.fixture
def pack() -> Pack:
    """pack([3, 5]) -> random token_ids [8] and cu_seqlens [0, 3, 8]."""

    def make(lengths: list[int], seed: int = 0) -> tuple[Tensor, Tensor]:
        draw = torch.Generator().manual_seed(seed)
        return torch.randint(VOCABULARY, (sum(lengths),), generator=draw), torch.tensor([0, *lengths]).cumsum(0)

    return make
