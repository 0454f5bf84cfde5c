"""Checkpoints under the released names: config.json and safetensors that transformers and vLLM read, and read back.

load: config.json -> model on the meta device -> headers of all files against it -> memory -> disk straight into place.
save: header, then tensor by tensor into shards of a hidden folder, which then takes the checkpoint's name.

The dtype of what is loaded follows one rule. Asked for a dtype, every tensor becomes it, apart from the selection bias
of the router, which is fp32 always. Asked for none, matrices that multiply take the dtype that most of them are stored
in, and whatever the maths reads in fp32 anyway (norms, convolutions, A_log, D, dt_bias, gates) stays as it is stored.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from model.checkpoint_file import Source, StoredSource, StoredTensor, TensorSource
from model.checkpoint_folder import (
    SHARD_BYTES,
    copy_companions,
    read_config,
    replace_directory,
    stored_tensors,
    truncated,
    write_config,
    write_weights,
)
from model.checkpoint_names import BIAS, misfits, state_tensors
from model.checkpoint_pieces import byte_view
from model.checkpoint_read import read_into
from model.huge_pages import prefer_huge_pages
from model.kernels.native.library import library
from model.stack import HybridModel

__all__ = [
    "checksum",
    "convert",
    "load_pretrained",
    "load_tensors",
    "read_config",
    "save_pretrained",
    "state_tensors",
    "stored_tensors",
]


def load_tensors(model: HybridModel, tensors: Mapping[str, Tensor]) -> None:
    """Overwrite every parameter and buffer in place, converting dtype and device.

    All problems are found before anything is written: raises ValueError that names each missing, unexpected,
    misshapen or too narrow tensor.
    """
    targets = dict(state_tensors(model))
    _refuse("the given tensors", misfits(targets, tensors))
    with torch.no_grad():
        for name, target in targets.items():
            target.copy_(tensors[name])


def checksum(tensors: Iterable[tuple[str, Tensor]]) -> dict[str, str]:
    """A hex digest per tensor over dtype, shape and bytes; equal digests mean bit-equal tensors."""
    digests = {}
    for name, tensor in tensors:
        flat = tensor.detach().to("cpu").contiguous()
        digest = hashlib.blake2b(f"{flat.dtype} {tuple(flat.shape)}".encode(), digest_size=16)
        digest.update(byte_view(flat))
        digests[name] = digest.hexdigest()
    return digests


def save_pretrained(
    model: HybridModel,
    directory: str | os.PathLike[str],
    also: Callable[[Path], None] | None = None,
    max_shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write config.json and weights; the directory appears, or replaces an older checkpoint, complete or not at all.

    Each tensor is stored in the dtype it has. `also` may add files (the tokenizer's) to the directory before it
    appears. Raises FileExistsError rather than replace a directory that holds something other than a checkpoint.
    """

    def write(fresh: Path) -> None:
        write_config(model.config, model.dtype, fresh)
        write_weights({name: TensorSource(tensor) for name, tensor in state_tensors(model)}, fresh, max_shard_bytes)
        if also is not None:
            also(fresh)

    replace_directory(Path(directory).absolute(), write)


def load_pretrained(
    directory: str | os.PathLike[str],
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = torch.float32,
) -> HybridModel:
    """Read a checkpoint of ours or a released one, in one file or in shards; dtype None keeps what is stored.

    Memory grows by the model and a buffer of a few MiB per thread, no more. Raises FileNotFoundError or ValueError
    that names the file and, for tensors, every one that is wrong; nothing is read before all of them fit.
    """
    source = Path(directory)
    config = read_config(source)
    found = stored_tensors(source)
    model = HybridModel(config, device="meta", dtype=dtype or _main_dtype(found))
    _refuse(str(source), misfits(dict(state_tensors(model)), found) + truncated(found))
    if dtype is None:
        _keep_stored_dtypes(model, found)
    model = model.to_empty(device=device or "cpu")
    prefer_huge_pages(model.parameters())
    for mixer in model.moe_layers():
        mixer.expert_counts.zero_()
    if model.device.type == "cpu":
        library(model.dtype)  # compiled now if need be, not under the first request; reading is faster with it
    read_into((found[name], target) for name, target in state_tensors(model))
    return model


def convert(
    source: str | os.PathLike[str],
    directory: str | os.PathLike[str],
    dtype: torch.dtype | None = None,
    max_shard_bytes: int = SHARD_BYTES,
) -> None:
    """Write a checkpoint again, in another dtype (selection biases stay fp32) or other shards, a piece at a time.

    Files beside the weights (tokenizer, template) come along; multi-token prediction is left out. Raises as
    `load_pretrained` and `save_pretrained`.
    """
    origin, target = Path(source).absolute(), Path(directory).absolute()
    config, found = read_config(origin), stored_tensors(origin)
    model = HybridModel(config, device="meta")
    _refuse(str(origin), misfits(dict(state_tensors(model)), found) + truncated(found))
    sources: dict[str, Source] = {
        name: StoredSource(found[name], torch.float32 if name.endswith(BIAS) else dtype)
        for name, _ in state_tensors(model)
    }

    def write(fresh: Path) -> None:
        copy_companions(origin, fresh)
        write_config(config, dtype or _main_dtype(found), fresh)
        write_weights(sources, fresh, max_shard_bytes)

    replace_directory(target, write)


def _refuse(source: str, problems: list[str]) -> None:
    if problems:
        raise ValueError(f"{source} does not fit the model, {len(problems)} problems:\n  " + "\n  ".join(problems))


def _main_dtype(found: Mapping[str, StoredTensor]) -> torch.dtype:
    """The dtype that holds the most numbers of the matrices."""
    held: Counter[torch.dtype] = Counter()
    for tensor in found.values():
        if tensor.dtype is not None and tensor.dtype.is_floating_point and len(tensor.shape) == 2:
            held[tensor.dtype] += tensor.nbytes // tensor.dtype.itemsize
    return held.most_common(1)[0][0] if held else torch.float32


def _keep_stored_dtypes(model: HybridModel, found: Mapping[str, StoredTensor]) -> None:
    """Give every parameter on the meta device that no plain matrix product reads the dtype it is stored in."""
    for index, block in enumerate(model.blocks()):
        prefix = f"backbone.layers.{index}"
        for name, parameter in list(block.named_parameters()):
            stored = found.get(f"{prefix}.{name}")
            small = parameter.dim() == 1 or name.endswith(("conv1d.weight", "gate.weight"))
            if stored is not None and stored.dtype is not None and small:
                owner, _, leaf = name.rpartition(".")
                kept = nn.Parameter(torch.empty_like(parameter, dtype=stored.dtype))
                setattr(block.get_submodule(owner), leaf, kept)
    final = found["backbone.norm_f.weight"].dtype
    model.norm_f.weight = nn.Parameter(torch.empty_like(model.norm_f.weight, dtype=final))
