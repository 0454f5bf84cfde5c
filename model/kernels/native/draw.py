"""One token drawn from every row of logits in one compiled call; see cpp/draw.cpp.

What torch does in a pass over all rows for each of softmax, exponential and cumulative sum is done while a row is in
cache, and nothing of the vocabulary's size is written but the row's own weights.
"""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from model.kernels.native.library import address, library, structure

_Arguments = structure(
    "DrawArguments",
    ints=("rows", "V"),
    pointers=("logits", "temperature", "uniform", "tokens", "logprobs"),
)


def takes(logits: Tensor) -> bool:
    """Whether the compiled form serves for logits [B, V]: rows of plain numbers on a CPU, and a library."""
    plain = logits.device.type == "cpu" and logits.is_contiguous() and logits.numel() > 0
    return plain and library(logits.dtype) is not None


def draw(logits: Tensor, temperature: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """logits [B, V], temperature [B] of their dtype (0: the likeliest), uniform f64[B] in [0, 1) -> one token a row.

    Returns tokens i64[B] and their log-probabilities [B] at the temperature, 1 for the likeliest; those of a row that
    is not finite are not a number.
    """
    assert len(temperature) == len(uniform) == len(logits)
    # named, for the call reads them after they were made
    temperature, uniform = temperature.to(logits.dtype).contiguous(), uniform.to(torch.float64).contiguous()
    tokens, logprobs = torch.empty(len(logits), dtype=torch.int64), torch.empty_like(temperature)
    arguments = _Arguments(
        rows=len(logits),
        V=logits.shape[1],
        logits=address(logits),
        temperature=address(temperature),
        uniform=address(uniform),
        tokens=address(tokens),
        logprobs=address(logprobs),
    )
    loaded = library(logits.dtype)
    assert loaded is not None
    loaded.draw(ctypes.byref(arguments))
    return tokens, logprobs
