"""The compiled library in this process: loaded once per number type, called with structures of pointers.

A call runs without the interpreter's lock. Work that can be cut is cut by the sizes alone and its parts are added in
their order, so that results do not depend on how many threads take part.
"""

from __future__ import annotations

import ctypes
import itertools
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from model.kernels.native import build, prebuilt

log = logging.getLogger(__name__)

_REALS = {torch.float32: "float", torch.float64: "double"}
_LINE_BYTES = 64
INT, REAL, POINTER = ctypes.c_int64, ctypes.c_double, ctypes.c_void_p


def library(dtype: torch.dtype) -> ctypes.CDLL | None:
    """The library for this dtype; None where there is none, which is logged once."""
    return _loaded(dtype) if build.wanted() and dtype in _REALS else None


def present() -> ctypes.CDLL | None:
    """The library for fp32 if it is there already; nothing is compiled."""
    return _loaded(torch.float32) if build.wanted() and _is_there() else None


@lru_cache(maxsize=1)
def _is_there() -> bool:
    return build.is_built("float") or (not build.has_compiler() and prebuilt.find("float") is not None)


@lru_cache(maxsize=2)
def _loaded(dtype: torch.dtype) -> ctypes.CDLL | None:
    real = _REALS[dtype]
    try:
        loaded = ctypes.CDLL(str(_made(real)))
    except (build.NoLibrary, OSError) as error:
        log.warning("%s; the torch forms serve", error)
        return None
    _is_there.cache_clear()
    return loaded


def _made(real: str) -> Path:
    """One made for this machine, or else one that came with the image. Raises NoLibrary."""
    try:
        return build.build(real)
    except build.NoLibrary:
        found = prebuilt.find(real)
        if found is None:
            raise
        return found


def structure(name: str, **kinds: Sequence[str]) -> type[ctypes.Structure]:
    """A C structure: runs of fields of one kind each, in order (ints, reals, pointers)."""
    types = {"ints": INT, "reals": REAL, "pointers": POINTER}
    fields = [(field, types[kind.rstrip("0123456789")]) for kind, names in kinds.items() for field in names]
    return type(name, (ctypes.Structure,), {"_fields_": fields})


def padded(count: int, like: Tensor) -> int:
    """`count` numbers rounded up to whole cache lines, as cpp/scratch.h does."""
    lanes = _LINE_BYTES // like.element_size()
    return -(-count // lanes) * lanes


def turned(weight: Tensor, *, pad: bool = True, apart: bool = False) -> Tensor:
    """[..., O, I] -> [..., I, O], O filled up with zeros to whole cache lines where `pad`; `apart`: one more."""
    loaded = library(weight.dtype)
    assert loaded is not None
    rows, columns = weight.shape[-2:]
    width = padded(rows, weight) if pad else rows
    width += _LINE_BYTES // weight.element_size() if apart else 0
    result = weight.new_empty(*weight.shape[:-2], columns, width)
    count = weight.shape[:-2].numel()
    loaded.turn(POINTER(address(weight)), POINTER(address(result)), INT(count), INT(rows), INT(columns), INT(width))
    return result


def added_up(blocks: Tensor) -> Tensor:
    """[parts, numbers] -> their sum [numbers], in the order of the parts; the first is overwritten."""
    loaded = library(blocks.dtype)
    assert loaded is not None
    loaded.add_up(POINTER(address(blocks)), INT(len(blocks)), INT(blocks.shape[1]))
    return blocks[0]


def address(tensor: Tensor | None) -> int | None:
    """Where a tensor's numbers begin; None is the null pointer. It must be contiguous and outlive the call."""
    if tensor is None:
        return None
    assert tensor.is_contiguous() and tensor.device.type == "cpu"
    return tensor.data_ptr()


def run(dtype: torch.dtype, name: str, arguments: ctypes.Structure, bounds: Sequence[int], *, numbered: bool) -> None:
    """Call `name`(arguments, first, last) for every run bounds[i]..bounds[i+1], on torch's number of threads.

    numbered: the function also gets i, which names where it adds up gradients.
    """
    loaded = library(dtype)
    assert loaded is not None
    function, pointer = getattr(loaded, name), ctypes.byref(arguments)
    jobs: list[Callable[[], Any]] = []
    for part, (first, last) in enumerate(itertools.pairwise(bounds)):
        where = (INT(part),) if numbered else ()
        jobs.append(partial(function, pointer, INT(first), INT(last), *where))
    threads = min(torch.get_num_threads(), len(jobs))
    if threads <= 1:
        for job in jobs:
            job()
    else:
        futures = [_pool(threads, os.getpid()).submit(job) for job in jobs]
        try:
            for future in futures:
                future.result()
        finally:
            wait(futures)  # an interrupt may end this loop, and the caller then frees what they still write to


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, thread_name_prefix="native")
