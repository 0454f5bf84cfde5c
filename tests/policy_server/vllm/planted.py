"""Faults that a test plants in a running vLLM: each is one that an update of weights has met somewhere."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from palaestra_vllm.extension import ServedWeights
from torch import Tensor


class Planted(ServedWeights):
    """The worker extension with `plant(fault)` and `heal()`; answers are lists, as `/collective_rpc` passes them on."""

    def plant(self, fault: str) -> list[str]:
        model = self.model_runner.get_model()
        if fault == "stale conv":  # what the bf16 prepack does: the buffer is no view of the parameter any more
            for mixer in self._mixers():
                mixer.conv_weights = mixer.conv_weights.clone()
            return [fault]
        load = type(model).load_weights
        change = {"dropped bias": _dropped, "rounded bias": _rounded, "swapped experts": _swapped}[fault]
        model.load_weights = lambda weights: load(model, change(weights))
        return [fault]

    def heal(self) -> list[str]:
        self.model_runner.get_model().__dict__.pop("load_weights", None)
        for mixer in self._mixers():
            weight = mixer.conv1d.weight.data
            mixer.conv_weights = weight.view(weight.size(0), weight.size(2))
        return []

    def _mixers(self) -> list[torch.nn.Module]:
        modules = self.model_runner.get_model().modules()
        return [module for module in modules if "conv_weights" in module._buffers]


Weights = Iterable[tuple[str, Tensor]]


def _dropped(weights: Weights) -> Weights:
    return ((name, tensor) for name, tensor in weights if not name.endswith("1.mixer.gate.e_score_correction_bias"))


def _rounded(weights: Weights) -> Weights:
    for name, tensor in weights:
        yield name, tensor.bfloat16().float() if name.endswith("e_score_correction_bias") else tensor


def _swapped(weights: Weights) -> Weights:
    for name, tensor in weights:
        yield name.replace("experts.0.", "experts.x.").replace("experts.1.", "experts.0.").replace(".x.", ".1."), tensor
