"""Bytes of tensors cut into pieces: what moves them between disk and memory, by how many threads, in which buffers.

Neither system calls nor conversions hold Python's lock. A piece that goes straight to its place is large; one that is
converted on the way is small enough to stay in a cache until it is where it belongs.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

PIECE_BYTES = 1 << 24
CACHED_BYTES = 1 << 21
_FEW_BYTES = 1 << 22
_MAX_THREADS = 8


def byte_view(tensor: Tensor) -> memoryview:
    """The bytes of a contiguous CPU tensor, shared with it."""
    view: memoryview = tensor.detach().reshape(-1).view(torch.uint8).numpy().data
    return view


_local = threading.local()


def staging(dtype: torch.dtype, shape: Sequence[int], name: str = "read") -> Tensor:
    """A contiguous tensor in this thread's buffer of this name, overwritten by the next call."""
    nbytes = math.prod(shape) * dtype.itemsize
    buffer: Tensor | None = getattr(_local, name, None)
    if buffer is None or len(buffer) < nbytes:
        buffer = torch.empty(nbytes, dtype=torch.uint8)
        setattr(_local, name, buffer)
    return buffer[:nbytes].view(dtype).view(tuple(shape))


def row_pieces(shape: tuple[int, ...], nbytes: int, piece: int) -> list[tuple[int, int]]:
    """Runs of rows of about `piece` bytes, of at least one row."""
    if not nbytes:
        return []
    count = shape[0] if shape else 1
    step = max(1, piece * count // nbytes)
    return [(first, min(first + step, count)) for first in range(0, count, step)]


def whole_or_piece(nbytes: int) -> int:
    """Bytes at a time for what is turned fastest whole: all of it, unless that is too much for a buffer."""
    return nbytes if nbytes <= 4 * PIECE_BYTES else PIECE_BYTES


def share_out(tasks: Sequence[Callable[[], None]], total: int, threads: int | None) -> None:
    """Run all tasks, which move `total` bytes; what one raises is raised once those that have begun are done."""
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


def read_at(handle: int, view: memoryview, start: int, file: Path) -> None:
    """Fill view from byte `start` on. Raises OSError that names the file where it ends before."""
    while len(view):
        count = os.preadv(handle, [view], start)
        if not count:
            raise OSError(f"{file} ended at byte {start} while it was read, {len(view)} bytes too early")
        view, start = view[count:], start + count


def write_at(handle: int, view: memoryview, start: int) -> None:
    """All of view, from byte `start` on."""
    while len(view):
        count = os.pwrite(handle, view, start)
        view, start = view[count:], start + count
