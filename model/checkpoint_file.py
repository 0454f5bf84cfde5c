"""One safetensors file: its header checked byte by byte, its tensors written from memory without a copy.

A file is: length n of the header (8 bytes, little endian) | header (JSON, n bytes) | tensors, one after the other. A
tensor that lies in memory as it is to lie on disk is written straight from there; any other goes through a buffer of
one thread, a piece at a time. `checkpoint_read` reads. Format: github.com/huggingface/safetensors, README.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from model import checkpoint_pieces
from model.checkpoint_pieces import byte_view, read_at, row_pieces, share_out, staging, write_at
from model.kernels.native.moving import copy_turned, turns

DTYPES = {
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
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
_MAX_HEADER = 100_000_000


class StoredTensor(NamedTuple):
    """A tensor on disk. dtype is None for a kind of number that torch here does not know (`stored_as` names it)."""

    file: Path
    stored_as: str
    shape: tuple[int, ...]
    start: int  # bytes from the beginning of the file
    nbytes: int
    truncated: bool  # the file ends before it does

    @property
    def dtype(self) -> torch.dtype | None:
        return DTYPES.get(self.stored_as)


class Source(Protocol):
    """What is written: its shape and dtype are known at once, its numbers are produced a run of rows at a time."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def piece_bytes(self) -> int: ...  # that many are best produced at a time
    def rows(self, first: int, last: int) -> Tensor: ...


class TensorSource:
    """A tensor in memory, on any device, in any order, to be stored in `dtype` (None: its own)."""

    def __init__(self, tensor: Tensor, dtype: torch.dtype | None = None) -> None:
        self.tensor = tensor.detach()
        self.shape, self.dtype = tuple(tensor.shape), dtype or tensor.dtype

    @property
    def piece_bytes(self) -> int:
        if self._is_ready or self.tensor.device.type != "cpu":
            return checkpoint_pieces.PIECE_BYTES
        if self.tensor.is_contiguous() or turns(self.tensor.dtype, self.dtype):
            return checkpoint_pieces.CACHED_BYTES
        return checkpoint_pieces.whole_or_piece(self.tensor.nbytes)

    @property
    def _is_ready(self) -> bool:
        tensor = self.tensor
        return tensor.device.type == "cpu" and tensor.dtype == self.dtype and tensor.is_contiguous()

    def rows(self, first: int, last: int) -> Tensor:
        """Rows first..last as contiguous numbers on the CPU: a view where they lie so already."""
        part = self.tensor[first:last] if self.tensor.dim() else self.tensor
        if self._is_ready:
            return part
        made = staging(self.dtype, tuple(part.shape))
        turned = part.dim() == 2 and not part.is_contiguous()
        return made if turned and copy_turned(part.t(), made) else made.copy_(part)


class StoredSource:
    """A tensor of another file, to be stored in `dtype` (None: as it is)."""

    def __init__(self, stored: StoredTensor, dtype: torch.dtype | None = None) -> None:
        assert stored.dtype is not None
        self.stored, self.shape, self.dtype = stored, stored.shape, dtype or stored.dtype

    @property
    def piece_bytes(self) -> int:
        return checkpoint_pieces.CACHED_BYTES

    def rows(self, first: int, last: int) -> Tensor:
        assert self.stored.dtype is not None
        found = staging(self.stored.dtype, (last - first, *self.shape[1:]) if self.shape else ())
        row = self.stored.nbytes // max(1, self.shape[0] if self.shape else 1)
        with open(self.stored.file, "rb", buffering=0) as file:
            read_at(file.fileno(), byte_view(found), self.stored.start + first * row, self.stored.file)
        return found if found.dtype == self.dtype else staging(self.dtype, found.shape, "converted").copy_(found)


def read_header(file: Path) -> dict[str, StoredTensor]:
    """Every tensor of a file, without reading the tensors.

    Raises ValueError that names the file where the header is broken; a file that ends too early is no error here:
    the tensors beyond its end are marked as truncated.
    """
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > min(_MAX_HEADER, size - 8):
            raise unreadable(file, f"its header should take {length} bytes, the file has {size}")
        raw = handle.read(length)
    try:
        entries = json.loads(raw)
        entries.pop("__metadata__", None)
        tensors = {name: _stored(file, entry, 8 + length, size) for name, entry in entries.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise unreadable(file, f"its header is broken ({error})") from error
    end = 8 + length
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].start):
        if tensor.start != end:
            raise unreadable(file, f"{name} begins at byte {tensor.start}, the tensor before it ends at {end}")
        end += tensor.nbytes
    if size > end:
        raise unreadable(file, f"it has {size - end} bytes more than its header says")
    return tensors


def unreadable(file: Path, why: str) -> ValueError:
    return ValueError(f"{file} is not a readable safetensors file: {why}")


def write_file(file: Path, sources: Mapping[str, Source], threads: int | None = None) -> int:
    """Write header and tensors and force them to disk; returns the bytes of the tensors.

    Wide numbers come first, so that each lies at a multiple of its width.
    """
    order = sorted(sources, key=lambda name: -sources[name].dtype.itemsize)
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    spans: list[tuple[Source, int]] = []
    for name in order:
        source = sources[name]
        nbytes = math.prod(source.shape) * source.dtype.itemsize
        entry = {"dtype": _NAMES[source.dtype], "shape": list(source.shape), "data_offsets": [end, end + nbytes]}
        header[name] = entry
        spans.append((source, end))
        end += nbytes
    raw = json.dumps(header, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    handle = os.open(file, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        data = 8 + len(raw)
        os.posix_fallocate(handle, 0, data + end)  # a full disk is noticed here, before anything is written
        write_at(handle, memoryview(len(raw).to_bytes(8, "little") + raw), 0)
        share_out([task for source, start in spans for task in _writes(handle, source, data + start)], end, threads)
        os.fsync(handle)
    except OSError as error:
        error.filename = error.filename or str(file)  # a handle has no name of its own to tell
        raise
    finally:
        os.close(handle)
    return end


def _stored(file: Path, entry: dict[str, object], data: int, size: int) -> StoredTensor:
    shape, offsets = entry["shape"], entry["data_offsets"]
    assert isinstance(shape, list) and isinstance(offsets, list)
    first, last = offsets
    stored_as = str(entry["dtype"])
    dtype = DTYPES.get(stored_as)
    if any(not isinstance(number, int) or number < 0 for number in (*shape, first, last)) or last < first:
        raise ValueError(f"shape {shape} and offsets {offsets} must be natural numbers in order")
    if dtype is not None and math.prod(shape) * dtype.itemsize != last - first:
        raise ValueError(f"shape {shape} of {stored_as} does not take {last - first} bytes")
    return StoredTensor(file, stored_as, tuple(shape), data + first, last - first, data + last > size)


def _writes(handle: int, source: Source, start: int) -> list[Callable[[], None]]:
    nbytes = math.prod(source.shape) * source.dtype.itemsize
    row = nbytes // max(1, source.shape[0] if source.shape else 1)

    def write(first: int, last: int) -> None:
        write_at(handle, byte_view(source.rows(first, last)), start + first * row)

    return [partial(write, first, last) for first, last in row_pieces(source.shape, nbytes, source.piece_bytes)]
