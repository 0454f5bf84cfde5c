"""Calibration: the largest magnitude that enters each linear layer, and each key and value cache, over some samples.

    samples -> packed forwards without gradient, every linear layer watched -> amax per released name -> scales

Every expert is watched alone: up_proj at the tokens routed to it, down_proj at its own relu^2. Maxima only grow with
more data, in any order and however the samples are packed, so calibrations may be merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from model.kernels.experts import relu_squared
from model.kernels.linear import linear
from model.kernels.router import Routing
from model.layers.linear import Linear
from model.layers.moe import Experts
from model.quantise.sites import Site, WrappedExperts, WrappedLinear, experts_of, linear_of, substituted
from model.stack import HybridModel

TOKENS_PER_PASS = 4096


@dataclass
class Amax:
    """Largest magnitudes by released name, fp32 scalars; 0 where nothing came by."""

    inputs: dict[str, Tensor] = field(default_factory=dict)
    cache: dict[str, Tensor] = field(default_factory=dict)  # what k_proj and v_proj put into the cache
    num_samples: int = 0
    num_tokens: int = 0

    def see(self, held: dict[str, Tensor], name: str, x: Tensor) -> None:
        """Take x into the maximum of `name` in `inputs` or `cache`; a number that is not one stays one."""
        low, high = torch.aminmax(x.detach()) if x.numel() else (x.new_zeros(()), x.new_zeros(()))
        largest = torch.maximum(-low, high).to(torch.float32)
        held[name] = torch.maximum(held[name], largest) if name in held else largest

    def merge(self, other: Amax) -> None:
        """Take in what another calibration of the same model saw."""
        for mine, theirs in ((self.inputs, other.inputs), (self.cache, other.cache)):
            for name, value in theirs.items():
                self.see(mine, name, value.to(mine[name].device) if name in mine else value)
        self.num_samples += other.num_samples
        self.num_tokens += other.num_tokens


@torch.no_grad()
def calibrate(model: HybridModel, samples: Iterable[Sequence[int]], tokens_per_pass: int = TOKENS_PER_PASS) -> Amax:
    """Token ids of each sample -> what the model's linear layers saw. The samples are taken one pass at a time.

    Raises ValueError for an empty set and for a sample with no tokens or with one that is not in the vocabulary.
    """
    amax = Amax()
    was_training = model.training
    model.eval()
    try:
        with substituted(model, lambda site: _observed(site, amax)):
            for batch in passes(_checked(samples, model.config.vocab_size), tokens_per_pass):
                ids = torch.tensor([token for sample in batch for token in sample], device=model.device)
                bounds = torch.tensor([0, *(len(sample) for sample in batch)]).cumsum(0)
                model.lm_head(model(ids, bounds))
                amax.num_samples += len(batch)
                amax.num_tokens += len(ids)
    finally:
        model.train(was_training)
    if not amax.num_samples:
        raise ValueError("calibration needs at least one sample, got none")
    return amax


def _checked(samples: Iterable[Sequence[int]], vocab_size: int) -> Iterator[Sequence[int]]:
    for number, sample in enumerate(samples, 1):
        if not len(sample):
            raise ValueError(f"calibration sample {number} has no tokens")
        if not 0 <= min(sample) <= max(sample) < vocab_size:
            span = f"{min(sample)}..{max(sample)}"
            raise ValueError(f"calibration sample {number} has tokens {span}, the model has 0..{vocab_size - 1}")
        yield sample


def passes(samples: Iterable[Sequence[int]], size: int) -> Iterator[list[Sequence[int]]]:
    """Samples in runs of at most `size` tokens; a longer sample has a run of its own."""
    batch: list[Sequence[int]] = []
    held = 0
    for sample in samples:
        if batch and held + len(sample) > size:
            yield batch
            batch, held = [], 0
        batch.append(sample)
        held += len(sample)
    if batch:
        yield batch


def _observed(site: Site, amax: Amax) -> nn.Module:
    if isinstance(site.module, Experts):
        return _ObservedExperts(experts_of(site), site.names, amax)
    return _ObservedLinear(linear_of(site), site, amax)


class _ObservedLinear(WrappedLinear):
    def __init__(self, inner: Linear, site: Site, amax: Amax) -> None:
        super().__init__(inner)
        self.site, self.amax = site, amax

    def forward(self, x: Tensor) -> Tensor:
        self._see(x)
        y = super().forward(x)
        if len(self.site.names) == 3:
            parts = y.split(self.site.rows, -1)
            for name, part in zip(self.site.names[1:], parts[1:], strict=True):
                self.amax.see(self.amax.cache, name, part)
        return y

    def add_to(self, residual: Tensor, x: Tensor) -> Tensor:
        self._see(x)
        return super().add_to(residual, x)

    def _see(self, x: Tensor) -> None:
        for name in self.site.names:
            self.amax.see(self.amax.inputs, name, x)


class _ObservedExperts(WrappedExperts):
    """Expert by expert, for what lies between its two products is wanted."""

    def __init__(self, inner: Experts, names: tuple[str, ...], amax: Amax) -> None:
        super().__init__(inner)
        self.names, self.amax = names, amax

    def forward(self, x: Tensor, routing: Routing) -> Tensor:
        count = len(self.up_proj)
        for e in range(count):
            token, _ = torch.where(routing.experts == e)
            here = x[token]
            self.amax.see(self.amax.inputs, self.names[e], here)
            hidden = relu_squared(linear(here, self.up_proj[e]))
            self.amax.see(self.amax.inputs, self.names[count + e], hidden)
        return super().forward(x, routing)
