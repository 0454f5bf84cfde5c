"""Weights on their way, compiled: matrices turned and rounded as they are copied, and CRC-32 at the rate of memory.

Both give the very bits that torch and zlib give, so it does not matter who has a library and who has none. Nothing is
compiled for them: they serve where the library that models use is there.
"""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

from model.kernels.native.library import INT, POINTER, present

_PAIRS = {
    (torch.bfloat16, torch.float32),
    (torch.float32, torch.bfloat16),
    *((dtype, dtype) for dtype in (torch.bfloat16, torch.float16, torch.float32)),
}


def turns(stored: torch.dtype, kept: torch.dtype) -> bool:
    """Whether `copy_turned` serves for numbers of these kinds."""
    return (stored, kept) in _PAIRS and present() is not None


def copy_turned(source: Tensor, target: Tensor) -> bool:
    """target [C, R] = source [R, C] turned, where compiled code can: rows that lie in one piece, on the CPU."""
    rows, columns = source.shape
    if (source.dtype, target.dtype) not in _PAIRS or (source.device.type, target.device.type) != ("cpu", "cpu"):
        return False
    loaded = present()
    if loaded is None or (columns > 1 and source.stride(1) != 1) or (rows > 1 and target.stride(1) != 1):
        return False
    loaded.turn_numbers(
        *(POINTER(source.data_ptr()), INT(source.element_size()), INT(source.stride(0)), INT(rows), INT(columns)),
        *(POINTER(target.data_ptr()), INT(target.element_size()), INT(target.stride(0))),
    )
    return True


def crc32(content: Tensor, begun: int = 0) -> int:
    """`zlib.crc32` of the bytes u8[n], going on from `begun`."""
    function = _crc32()
    if function is None:
        return zlib.crc32(content.numpy().data, begun)
    return int(function(content.data_ptr(), len(content), begun, ctypes.byref(ctypes.c_int32())))


def _crc32() -> Callable[..., int] | None:
    """The compiled form, where library and processor have one."""
    loaded = present()
    return None if loaded is None else _known(loaded)


@lru_cache(maxsize=2)
def _known(loaded: ctypes.CDLL) -> Callable[..., int] | None:
    function: Callable[..., int] = ctypes.CFUNCTYPE(
        ctypes.c_uint32, POINTER, INT, ctypes.c_uint32, ctypes.POINTER(ctypes.c_int32)
    )(("crc32_of", loaded))
    known = ctypes.c_int32()
    function(None, 0, 0, ctypes.byref(known))
    return function if known.value else None
