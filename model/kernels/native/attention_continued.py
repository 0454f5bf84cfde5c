"""Attention of new tokens over a long cache, compiled; the mathematics is in cpp/attention_continued.cpp."""

from __future__ import annotations

import torch
from torch import Tensor

from model.kernels.native.library import address, library, run, structure

_BLOCK = 32
_Arguments = structure(
    "ContinuedArguments",
    ints=("queries", "seen", "heads", "kv_heads", "size", "ld_query", "ld_head"),
    pointers=("q", "keys", "values", "out"),
)


def takes(q: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether `attention_continued` serves: one dtype with a library, on the CPU, no gradient, rows in one piece."""
    one_kind = q.dtype == keys.dtype == values.dtype and q.device.type == "cpu"
    if not one_kind or library(q.dtype) is None or (torch.is_grad_enabled() and q.requires_grad):
        return False
    rows = all(part.stride()[1:] == (part.shape[2], 1) for part in (keys, values))
    return rows and keys.stride(0) == values.stride(0) and q.stride()[1:] == (q.shape[2], 1)


def attention_continued(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """q [Lq, Hq, dh] of the last Lq tokens against keys, values [Hkv, L, dh] -> [Lq, Hq dh]; see `takes`."""
    length, num_heads, size = q.shape
    out = q.new_empty(length, num_heads * size)
    arguments = _Arguments(
        queries=length,
        seen=keys.shape[1] - length,
        heads=num_heads,
        kv_heads=len(keys),
        size=size,
        ld_query=q.stride(0),
        ld_head=keys.stride(0),
        q=q.data_ptr(),
        keys=keys.data_ptr(),
        values=values.data_ptr(),
        out=address(out),
    )
    blocks = -(-length // _BLOCK)
    run(q.dtype, "attention_continued", arguments, [block * num_heads for block in range(blocks + 1)], numbered=False)
    return out
