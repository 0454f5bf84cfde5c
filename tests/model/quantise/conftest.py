"""A small hybrid with every class of layer, samples for it, and what a calibration on them saw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.config import HybridConfig
from model.quantise.calibration import Amax, calibrate
from model.quantise.checkpoint import save_quantised
from model.quantise.scales import Scales, scales_of
from model.stack import HybridModel

SMALL = dict(
    hidden_size=32,
    hybrid_override_pattern="MEM*EM",
    mamba_num_heads=4,
    mamba_head_dim=8,
    n_groups=2,
    ssm_state_size=8,
    chunk_size=8,
    head_dim=8,
    n_routed_experts=4,
    initializer_range=0.1,
)
Samples = list[list[int]]


@pytest.fixture
def small() -> Callable[..., HybridModel]:
    def make(dtype: torch.dtype = torch.float32, **overrides: object) -> HybridModel:
        return HybridModel(HybridConfig.tiny(48, **(SMALL | overrides)), dtype=dtype).eval()

    return make


@pytest.fixture
def draw_samples() -> Callable[..., Samples]:
    def make(count: int = 5, seed: int = 0) -> Samples:
        draw = torch.Generator().manual_seed(seed)
        return [torch.randint(48, (7 + 4 * i,), generator=draw).tolist() for i in range(count)]

    return make


@pytest.fixture
def logits_of() -> Callable[[HybridModel, Samples], Tensor]:
    @torch.no_grad()
    def compute(model: HybridModel, samples: Samples) -> Tensor:
        ids = torch.tensor([token for sample in samples for token in sample])
        bounds = torch.tensor([0, *map(len, samples)]).cumsum(0)
        return model.eval().logits(model(ids, bounds))

    return compute


@pytest.fixture
def model(small: Callable[..., HybridModel]) -> HybridModel:
    return small()


@pytest.fixture
def samples(draw_samples: Callable[..., Samples]) -> Samples:
    return draw_samples()


@pytest.fixture
def amax(model: HybridModel, samples: Samples) -> Amax:
    return calibrate(model, samples)


@pytest.fixture
def scales(model: HybridModel, amax: Amax) -> Scales:
    return scales_of(model, amax)


@pytest.fixture
def saved(model: HybridModel, scales: Scales, tmp_path: Path) -> Path:
    save_quantised(model, scales, tmp_path / "fp8")
    return tmp_path / "fp8"
