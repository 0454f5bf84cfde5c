"""One safetensors file: its header checked byte by byte, its tensors moved between disk and memory without a copy.

A file is: length n of the header (8 bytes, little endian) | header (JSON, n bytes) | tensors, one after the other. A
tensor that lies in memory as it lies on disk is read straight into its place (`preadv`) and written straight from it
(`pwritev`); any other goes through a buffer of one thread, a piece at a time. Pieces are shared out among threads:
neither system calls nor conversions hold Python's lock. Format: github.com/huggingface/safetensors, README.
"""

from __future__ import annotations

import json
import math
import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

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
PIECE_BYTES = 1 << 24
_FEW_BYTES = 1 << 22
_MAX_HEADER = 100_000_000
_MAX_THREADS = 8


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
    def splits(self) -> bool: ...
    def rows(self, first: int, last: int) -> Tensor: ...


class TensorSource:
    """A tensor in memory, on any device, in any order, to be stored in `dtype` (None: its own)."""

    def __init__(self, tensor: Tensor, dtype: torch.dtype | None = None) -> None:
        self.tensor = tensor.detach()
        self.shape, self.dtype = tuple(tensor.shape), dtype or tensor.dtype

    @property
    def splits(self) -> bool:
        # A transposed matrix is turned fastest whole.
        return self.tensor.is_contiguous() or self.tensor.nbytes > 4 * PIECE_BYTES

    def rows(self, first: int, last: int) -> Tensor:
        """Rows first..last as contiguous numbers on the CPU: a view where they lie so already."""
        part = self.tensor[first:last] if self.tensor.dim() else self.tensor
        if part.device.type == "cpu" and part.dtype == self.dtype and part.is_contiguous():
            return part
        return staging(self.dtype, tuple(part.shape)).copy_(part)


class StoredSource:
    """A tensor of another file, to be stored in `dtype` (None: as it is)."""

    splits = True

    def __init__(self, stored: StoredTensor, dtype: torch.dtype | None = None) -> None:
        assert stored.dtype is not None
        self.stored, self.shape, self.dtype = stored, stored.shape, dtype or stored.dtype

    def rows(self, first: int, last: int) -> Tensor:
        assert self.stored.dtype is not None
        found = staging(self.stored.dtype, (last - first, *self.shape[1:]) if self.shape else ())
        row = self.stored.nbytes // max(1, self.shape[0] if self.shape else 1)
        with open(self.stored.file, "rb", buffering=0) as file:
            _read(file.fileno(), byte_view(found), self.stored.start + first * row, self.stored.file)
        return found if found.dtype == self.dtype else found.to(self.dtype)


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


def read_into(pairs: Iterable[tuple[StoredTensor, Tensor]], threads: int | None = None) -> None:
    """Fill each target, of the stored shape but any dtype, device and order, from disk.

    Raises OSError that names the file when it cannot be read to the end.
    """
    handles: dict[Path, int] = {}
    tasks: list[Callable[[], None]] = []
    total = 0
    try:
        for stored, target in pairs:
            if stored.file not in handles:
                handles[stored.file] = os.open(stored.file, os.O_RDONLY)
            tasks += _reads(handles[stored.file], stored, target.detach())
            total += stored.nbytes
        _share_out(tasks, total, threads)
    finally:
        for handle in handles.values():
            os.close(handle)


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
        _write(handle, memoryview(len(raw).to_bytes(8, "little") + raw), 0)
        _share_out([task for source, start in spans for task in _writes(handle, source, data + start)], end, threads)
        os.fsync(handle)
    except OSError as error:
        error.filename = error.filename or str(file)  # a handle has no name of its own to tell
        raise
    finally:
        os.close(handle)
    return end


def byte_view(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, shared with it."""
    view: memoryview = tensor.detach().reshape(-1).view(torch.uint8).numpy().data
    return view


_local = threading.local()


def staging(dtype: torch.dtype, shape: Sequence[int]) -> Tensor:
    """A contiguous tensor in a buffer of this thread, overwritten by the next call."""
    nbytes = math.prod(shape) * dtype.itemsize
    buffer: Tensor | None = getattr(_local, "buffer", None)
    if buffer is None or len(buffer) < nbytes:
        buffer = _local.buffer = torch.empty(nbytes, dtype=torch.uint8)
    return buffer[:nbytes].view(dtype).view(tuple(shape))


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


def _reads(handle: int, stored: StoredTensor, target: Tensor) -> list[Callable[[], None]]:
    """The pieces of one tensor, each as a call."""
    if target.device.type == "cpu" and target.dtype == stored.dtype and target.is_contiguous():
        view = byte_view(target)
        starts = range(0, stored.nbytes, PIECE_BYTES)
        return [
            lambda at=at: _read(handle, view[at : at + PIECE_BYTES], stored.start + at, stored.file)  # type: ignore[misc]
            for at in starts
        ]
    whole = not target.is_contiguous() and stored.nbytes <= 4 * PIECE_BYTES
    return [
        lambda rows=rows: _read_rows(handle, stored, target, *rows)  # type: ignore[misc]
        for rows in _row_pieces(stored.shape, stored.nbytes, whole)
    ]


def _read_rows(handle: int, stored: StoredTensor, target: Tensor, first: int, last: int) -> None:
    assert stored.dtype is not None
    part = target[first:last] if target.dim() else target
    found = staging(stored.dtype, tuple(part.shape))
    row = stored.nbytes // max(1, stored.shape[0] if stored.shape else 1)
    _read(handle, byte_view(found), stored.start + first * row, stored.file)
    with torch.no_grad():
        if part.dim() == 2 and not part.is_contiguous() and part.t().is_contiguous():
            # torch turns a matrix in blocks where dtypes agree and what it writes is contiguous.
            part, found = part.t(), found.to(part.dtype).t()
        part.copy_(found)


def _writes(handle: int, source: Source, start: int) -> list[Callable[[], None]]:
    nbytes = math.prod(source.shape) * source.dtype.itemsize
    row = nbytes // max(1, source.shape[0] if source.shape else 1)

    def write(first: int, last: int) -> None:
        _write(handle, byte_view(source.rows(first, last)), start + first * row)

    return [
        lambda rows=rows: write(*rows)  # type: ignore[misc]
        for rows in _row_pieces(source.shape, nbytes, not source.splits)
    ]


def _row_pieces(shape: tuple[int, ...], nbytes: int, whole: bool) -> list[tuple[int, int]]:
    """Runs of rows of about PIECE_BYTES."""
    if not nbytes:
        return []
    count = shape[0] if shape else 1
    step = count if whole else max(1, PIECE_BYTES * count // nbytes)
    return [(first, min(first + step, count)) for first in range(0, count, step)]


def _share_out(tasks: Sequence[Callable[[], None]], total: int, threads: int | None) -> None:
    count = threads or (1 if total < _FEW_BYTES else min(_MAX_THREADS, os.cpu_count() or 1))
    if count == 1:
        for task in tasks:
            task()
        return
    with ThreadPoolExecutor(count, thread_name_prefix="checkpoint") as pool:
        futures = [pool.submit(task) for task in tasks]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _read(handle: int, view: memoryview, start: int, file: Path) -> None:
    while len(view):
        count = os.preadv(handle, [view], start)
        if not count:
            raise OSError(f"{file} ended at byte {start} while it was read, {len(view)} bytes too early")
        view, start = view[count:], start + count


def _write(handle: int, view: memoryview, start: int) -> None:
    while len(view):
        count = os.pwrite(handle, view, start)
        view, start = view[count:], start + count
