# mypy: allow-incomplete-defs
"""The work on a chunk of logits on a GPU: one read for the statistics, one read and one write for the gradient.

A program walks along one row of logits (fp32, straight from the product) in blocks, with a running maximum m, sum
s = sum e^(z - m) and first moment f = sum (z - m) e^(z - m); a larger maximum m' rescales them:

    f <- (f + (m - m') s) e^(m - m'),   s <- s e^(m - m')          log Z = m + log s,   entropy = log s - f / s

Launch parameters are reasoned for Hopper at a vocabulary of 131072, not yet measured: a row is 512 KB, blocks of 4096
in 8 warps, and the rows of a chunk are several for each multiprocessor.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from model.kernels.logprob import ChunkForm, Statistics
from model.kernels.triton_numerics import cast
from model.kernels.triton_support import next_power_of_2

_BLOCK = 4096


@triton.jit
def statistics_kernel(
    z,  # [R, V] fp32
    targets,  # [R] int64
    logprobs,  # out [R] fp32
    entropy,  # out [R] fp32
    normaliser,  # out [R] fp32
    stride,
    VOCABULARY: tl.constexpr,
    BLOCK: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.arange(0, BLOCK)
    largest, total, moment = -3.0e38, 0.0, 0.0
    for start in range(0, VOCABULARY, BLOCK):
        inside = start + column < VOCABULARY
        value = tl.load(z + row * stride + start + column, mask=inside, other=-3.0e38)
        new = tl.maximum(largest, tl.max(value, 0))
        rescale = tl.exp(largest - new)
        moment = (moment + (largest - new) * total) * rescale
        below = tl.where(inside, value - new, 0.0)
        unscaled = tl.where(inside, tl.exp(below), 0.0)
        moment += tl.sum(below * unscaled, 0)
        total = total * rescale + tl.sum(unscaled, 0)
        largest = new
    log_total = tl.log(total)
    picked = tl.load(z + row * stride + tl.load(targets + row))
    tl.store(logprobs + row, picked - largest - log_total)
    tl.store(entropy + row, log_total - moment / total)
    tl.store(normaliser + row, largest + log_total)


@triton.jit
def gradient_kernel(
    z,  # [R, V] fp32
    targets,
    entropy,
    normaliser,
    grad,  # [R] fp32: of the log-probability
    grad_entropy,  # [R] fp32
    dz,  # out [R, V]
    stride,
    VOCABULARY: tl.constexpr,
    BLOCK: tl.constexpr,
    FOR_LOGPROB: tl.constexpr,
    FOR_ENTROPY: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = column < VOCABULARY
    logp = tl.load(z + row * stride + column, mask=inside, other=0.0) - tl.load(normaliser + row)
    p = tl.exp(logp)
    result = tl.zeros((BLOCK,), tl.float32)
    if FOR_ENTROPY:
        result -= tl.load(grad_entropy + row) * p * (logp + tl.load(entropy + row))
    if FOR_LOGPROB:
        result += tl.load(grad + row) * (tl.where(column == tl.load(targets + row), 1.0, 0.0) - p)
    tl.store(dz + row * VOCABULARY + column, cast(result, dz.dtype.element_ty), mask=inside)


class TritonChunks(ChunkForm):
    """As `TorchChunks`, one program a row."""

    keeps = False

    def statistics(self, z: Tensor, targets: Tensor, keep: Tensor | None) -> Statistics:
        assert keep is None
        logprobs, entropy, normaliser = (z.new_empty(len(z)) for _ in range(3))
        block = min(_BLOCK, next_power_of_2(z.shape[1]))
        statistics_kernel[(len(z),)](
            z, targets, logprobs, entropy, normaliser, z.stride(0), VOCABULARY=z.shape[1], BLOCK=block, num_warps=8
        )
        return Statistics(logprobs, entropy, normaliser)

    def gradient(
        self,
        z: Tensor,
        known: Statistics,
        targets: Tensor,
        g: Tensor | None,
        g_entropy: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        dz = torch.empty(z.shape, dtype=dtype, device=z.device)
        block = min(_BLOCK, next_power_of_2(z.shape[1]))
        # Where the kernel does not look, any tensor will do.
        first, second = (known.entropy if part is None else part.contiguous() for part in (g, g_entropy))
        gradient_kernel[(len(z), -(-z.shape[1] // block))](
            z, targets, known.entropy, known.normaliser, first, second, dz, z.stride(0),
            VOCABULARY=z.shape[1], BLOCK=block, FOR_LOGPROB=g is not None, FOR_ENTROPY=g_entropy is not None,
            num_warps=8,
        )  # fmt: skip
        return dz
