"""Released tensors read back from a model that vLLM serves (one device, tensor parallel size 1).

A matrix that a kernel packed is read by multiplying it with the identity: products with 0 and 1 are exact. The conv's
weight is read from the buffer that the kernel gets, not from the parameter beside it. Where a linear's parameter is
kept as well as packed (`lm_head`), the packed form is what computes, so that is what is read.
"""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor

_EXPERT = re.compile(r"(.*\.mixer)\.experts\.(\d+)\.(up|down)_proj\.weight")
_WIDTHS = ("input_size_per_partition", "input_size", "embedding_dim")
"""Where vLLM's linear layers, replicated ones and its head keep the width of what they multiply."""
_QKV = re.compile(r"(.*\.mixer)\.([qkv])_proj\.weight")


class Served:
    """The tensors of one model, by released name."""

    def __init__(self, model: Any) -> None:
        self._modules = dict(model.named_modules())
        self._matrices: dict[str, Tensor] = {}
        self._unread = {name for name, _ in model.named_parameters()}
        self._experts_unread: dict[str, set[int]] = {}
        self._vocab = int(model.config.vocab_size)

    def unread(self) -> list[str]:
        """Parameters, by vLLM's names, that no `read` has touched."""
        partly = [name for name, left in self._experts_unread.items() if left]
        return sorted(self._unread | set(partly))

    def read(self, name: str) -> Tensor | None:
        """What is served under a released name; None where there is no such thing."""
        local = "model." + name.removeprefix("backbone.") if name.startswith("backbone.") else name
        local = local.replace("model.embeddings.", "model.embed_tokens.")
        try:
            return self._read(local)
        except (KeyError, AttributeError):
            return None

    def _read(self, name: str) -> Tensor:
        if expert := _EXPERT.fullmatch(name):
            return self._expert(expert[1], int(expert[2]), "w13_weight" if expert[3] == "up" else "w2_weight")
        if head := _QKV.fullmatch(name):
            return self._projection(f"{head[1]}.qkv_proj", "qkv".index(head[2]))
        owner, _, attribute = name.rpartition(".")
        if attribute == "A_log":
            return self._plain(owner, "A")
        if name.endswith(".conv1d.weight"):
            self._unread.discard(name)
            mixer = self._modules[owner.removesuffix(".conv1d")]
            return mixer.conv_weights.detach().unsqueeze(1)
        module = self._modules[owner]
        if attribute == "weight" and hasattr(module, "cpu_linear"):
            matrix = self._matrix(owner)
        else:
            matrix = self._plain(owner, attribute)
        return matrix[: self._vocab] if owner.endswith(("embed_tokens", "lm_head")) else matrix

    def _plain(self, owner: str, attribute: str) -> Tensor:
        self._unread.discard(f"{owner}.{attribute}")
        return getattr(self._modules[owner], attribute).detach()

    def _expert(self, mixer: str, number: int, kind: str) -> Tensor:
        owner = f"{mixer}.experts.routed_experts"
        stacked: Tensor = getattr(self._modules[owner], kind)
        left = self._experts_unread.setdefault(f"{owner}.{kind}", set(range(len(stacked))))
        left.discard(number)
        self._unread.discard(f"{owner}.{kind}")
        return stacked[number].detach()

    def _projection(self, owner: str, part: int) -> Tensor:
        sizes = self._modules[owner].output_partition_sizes
        return self._matrix(owner).split(sizes)[part]

    def _matrix(self, owner: str) -> Tensor:
        """W [out, in] of a linear layer, as it multiplies."""
        found = self._matrices.get(owner)
        if found is None:
            module = self._modules[owner]
            self._unread.discard(f"{owner}.weight")
            multiply = getattr(module, "cpu_linear", None)
            if multiply is None or owner.endswith("embed_tokens"):  # an embedding is looked up, never multiplied
                found = module.weight.detach()
            else:
                width = next(getattr(module, name) for name in _WIDTHS if hasattr(module, name))
                dtype = module.weight.dtype
                found = multiply(torch.eye(width, dtype=dtype), module.weight, None).detach().t().to(dtype)
            self._matrices[owner] = found
        return found
