"""Published weights as tensors: one safetensors file or a folder of shards, mapped, not read.

The safetensors library is left out of it: its readers keep a Python number for every number of every shape they tell
(28 bytes each, never given back), which a worker that takes new weights for days would feel.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch
from torch import Tensor

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "BF16": torch.bfloat16,
    "F16": torch.float16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def tensors_of(path: Path) -> Iterator[tuple[str, Tensor]]:
    """(released name, tensor) of every tensor, in the order of their names.

    Raises `FileNotFoundError` where there is none, ValueError naming a file that is broken or cut.
    """
    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not all(file.is_file() for file in files):
        raise FileNotFoundError(f"there are no weights at {path}")
    for file in files:
        yield from _mapped(file)


def _mapped(file: Path) -> Iterator[tuple[str, Tensor]]:
    """The tensors of one file: 8 bytes, the header's length n | JSON of n bytes | the tensors' bytes."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        start = 8 + int.from_bytes(handle.read(8), "little")
        if not 8 < start <= size:
            raise ValueError(f"{file} is not a readable safetensors file: its header should end at byte {start}")
        try:
            entries = json.loads(handle.read(start - 8))
        except ValueError as error:
            raise ValueError(f"{file} is not a readable safetensors file: {error}") from None
    data = torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8)
    for name in sorted(entries.keys() - {"__metadata__"}):
        yield name, _tensor(file, name, entries[name], data[start:])


def _tensor(file: Path, name: str, entry: dict[str, object], data: Tensor) -> Tensor:
    try:
        dtype, shape = _DTYPES[str(entry["dtype"])], [int(number) for number in entry["shape"]]  # type: ignore[attr-defined]  # the except below says what is wrong with any other
        first, last = (int(number) for number in entry["data_offsets"])  # type: ignore[attr-defined]  # as above
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file}: {name} cannot be read ({type(error).__name__}: {error})") from None
    if not 0 <= first <= last <= len(data) or last - first != prod(shape) * dtype.itemsize:
        raise ValueError(f"{file}: {name} should be bytes {first} to {last} of {len(data)}, shape {shape} of {dtype}")
    found = data[first:last]
    if found.data_ptr() % dtype.itemsize:
        found = found.clone()  # written without care for where numbers of this width may begin
    return found.view(dtype).view(shape)


def checksum(tensor: Tensor) -> str:
    """The digest of `model.checkpoint.checksum`: over dtype, shape and bytes."""
    flat = tensor.detach().to("cpu").contiguous()
    digest = hashlib.blake2b(f"{flat.dtype} {tuple(flat.shape)}".encode(), digest_size=16)
    digest.update(flat.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
