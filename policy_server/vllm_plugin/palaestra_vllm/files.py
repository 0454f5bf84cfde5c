"""Published weights as tensors: one safetensors file or a folder of shards, mapped, not read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor


def tensors_of(path: Path) -> Iterator[tuple[str, Tensor]]:
    """(released name, tensor) of every tensor. Raises `FileNotFoundError` where there is none."""
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise FileNotFoundError(f"there are no weights at {path}")
    for file in files:
        with safe_open(file, framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118 (no mapping)
                yield name, stored.get_tensor(name)


def checksum(tensor: Tensor) -> str:
    """The digest of `model.checkpoint.checksum`: over dtype, shape and bytes."""
    flat = tensor.detach().to("cpu").contiguous()
    digest = hashlib.blake2b(f"{flat.dtype} {tuple(flat.shape)}".encode(), digest_size=16)
    digest.update(flat.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
