"""Static scales from a calibration: s = amax / 448 for each weight, each input, and each key and value cache.

An expert that no token of the calibration reached has seen nothing; it takes the largest amax of its layer, which is
also what vLLM makes of the experts' input scales of a layer.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import Tensor

from model.kernels.fp8 import scale_of
from model.quantise.calibration import Amax
from model.quantise.sites import quantised_linears, sites, weights_of
from model.stack import HybridModel


@dataclass
class Scales:
    """fp32 scalars by released name, and whether the key-value cache is FP8 too."""

    weights: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    cache: dict[str, Tensor] = field(default_factory=dict)  # by k_proj and v_proj; empty: the cache keeps its dtype

    def only(self, names: Collection[str]) -> Scales:
        """Those of these linear layers, and no cache."""
        chosen = set(names)
        return Scales(
            {name: scale for name, scale in self.weights.items() if name in chosen},
            {name: scale for name, scale in self.inputs.items() if name in chosen},
        )


@torch.no_grad()
def scales_of(model: HybridModel, amax: Amax, names: Collection[str] | None = None, cache: bool = True) -> Scales:
    """The scales of the linear layers `names` (None: those that the rule quantises), and of the caches with `cache`.

    Raises ValueError that names the layer where the calibration or a weight is not finite or was not watched.
    """
    wanted = set(quantised_linears(model.config) if names is None else names)
    scales = Scales()
    for site in sites(model):
        for name, weight in zip(site.names, weights_of(site), strict=True):
            if name in wanted:
                low, high = torch.aminmax(weight)
                scales.weights[name] = _scale(f"{name}.weight", torch.maximum(-low, high))
    if unknown := sorted(wanted - set(scales.weights)):
        raise ValueError(f"no linear layer of this model is called {', '.join(unknown[:5])}")
    inputs = _with_unseen_experts(amax.inputs)
    for name in scales.weights:
        if name not in inputs:
            raise ValueError(f"{name} was not watched: the calibration is of another model")
        scales.inputs[name] = _scale(f"the input of {name}", inputs[name])
    if cache:
        scales.cache = {name: _scale(f"the cache of {name}", value) for name, value in amax.cache.items()}
    return scales


def _scale(what: str, amax: Tensor) -> Tensor:
    try:
        return scale_of(amax)
    except ValueError as error:
        raise ValueError(f"{what}: {error}") from None


def _with_unseen_experts(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    layers: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for name in inputs:
        layer, found, rest = name.partition(".experts.")
        if found:
            layers[layer, rest.partition(".")[2]].append(name)
    filled = dict(inputs)
    for names in layers.values():
        largest = torch.stack([inputs[name] for name in names]).amax()
        filled |= {name: largest for name in names if inputs[name] == 0}
    return filled
