"""Tensors from disk into memory: straight into their place where they lie there as on disk, else through a buffer.

same dtype, same order    preadv into the tensor, PIECE_BYTES at a time
another dtype             a piece that stays in the cache is read, and converted into its place
turned (down_proj)        the same, turned as it is converted: compiled where there is a library, else torch turns a
                          whole matrix in blocks
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from model import checkpoint_pieces
from model.checkpoint_file import StoredTensor, read_header, unreadable
from model.checkpoint_pieces import byte_view, read_at, row_pieces, share_out, staging
from model.kernels.native.moving import copy_turned, turns


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
        share_out(tasks, total, threads)
    finally:
        for handle in handles.values():
            os.close(handle)


def read_files(files: Iterable[Path]) -> dict[str, Tensor]:
    """Every tensor of these safetensors files by name, in memory of its own; of two by one name the later.

    Raises ValueError that names the file where it is broken, cut or holds numbers that torch does not know.
    """
    found: dict[str, StoredTensor] = {}
    for file in files:
        header = read_header(file)
        for name, stored in header.items():
            if stored.truncated:
                raise unreadable(file, f"it ends before {name} does")
            if stored.dtype is None:
                raise unreadable(file, f"{name} is stored as {stored.stored_as}, which is not known here")
        found |= header
    tensors = {name: torch.empty(stored.shape, dtype=stored.dtype) for name, stored in found.items()}
    read_into((stored, tensors[name]) for name, stored in found.items())
    return tensors


def _reads(handle: int, stored: StoredTensor, target: Tensor) -> list[Callable[[], None]]:
    """The pieces of one tensor, each as a call."""
    if target.device.type == "cpu" and target.dtype == stored.dtype and target.is_contiguous():
        view, piece = byte_view(target), checkpoint_pieces.PIECE_BYTES
        starts = range(0, stored.nbytes, piece)
        return [partial(read_at, handle, view[at : at + piece], stored.start + at, stored.file) for at in starts]
    assert stored.dtype is not None
    piece = checkpoint_pieces.CACHED_BYTES if target.device.type == "cpu" else checkpoint_pieces.PIECE_BYTES
    if not target.is_contiguous() and not (_is_turned(target) and turns(stored.dtype, target.dtype)):
        piece = checkpoint_pieces.whole_or_piece(stored.nbytes)
    return [
        partial(_read_rows, handle, stored, target, first, last)
        for first, last in row_pieces(stored.shape, stored.nbytes, piece)
    ]


def _read_rows(handle: int, stored: StoredTensor, target: Tensor, first: int, last: int) -> None:
    assert stored.dtype is not None
    part = target[first:last] if target.dim() else target
    found = staging(stored.dtype, tuple(part.shape))
    row = stored.nbytes // max(1, stored.shape[0] if stored.shape else 1)
    read_at(handle, byte_view(found), stored.start + first * row, stored.file)
    with torch.no_grad():
        if not _is_turned(part):
            part.copy_(found)
        elif not copy_turned(found, part.t()):
            _turn(found, part.t())


def _is_turned(tensor: Tensor) -> bool:
    return tensor.device.type == "cpu" and tensor.dim() == 2 and tensor.stride(0) == 1 and tensor.stride(1) > 1


def _turn(source: Tensor, target: Tensor) -> None:
    """target [C, R] = source [R, C] turned. torch does it in blocks where dtypes agree: the narrower one is turned."""
    if source.element_size() > target.element_size():
        source = staging(target.dtype, source.shape, "converted").copy_(source)
    turned = source.t()
    if source.dtype != target.dtype:
        turned = staging(source.dtype, target.shape, "converted").copy_(turned)
    target.copy_(turned)
