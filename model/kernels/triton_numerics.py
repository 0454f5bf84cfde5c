# mypy: allow-incomplete-defs
"""Products and roundings as Triton kernels write them, right on a GPU and in the interpreter.

The interpreter (3.9) multiplies the bit patterns of bf16 numbers and rounds to bf16 by cutting bits off. Both are set
right here, behind a constant that is false on a GPU, where nothing of it is compiled.
"""

from __future__ import annotations

import triton
import triton.language as tl

from model.kernels.triton_support import interpreting

INTERPRETED = tl.constexpr(interpreting())


@triton.jit
def dot(a, b, acc=None):
    """acc + a b in fp32, a and b of one dtype; fp32 operands are not narrowed to tf32."""
    if INTERPRETED:
        return tl.dot(a.to(tl.float32), b.to(tl.float32), acc, input_precision="ieee")
    else:
        return tl.dot(a, b, acc, input_precision="ieee")


@triton.jit
def cast(x, DTYPE: tl.constexpr):
    """fp32 x in DTYPE, rounded to nearest, ties to even."""
    if INTERPRETED and tl.bfloat16 == DTYPE:
        bits = x.to(tl.uint32, bitcast=True)
        # Half of what is cut off, and one more where the last bit that stays is odd; a NaN stays as it is.
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)
        x = tl.where(x == x, rounded & 0xFFFF0000, bits).to(tl.float32, bitcast=True)
    return x.to(DTYPE)


@triton.jit
def sigmoid(x):
    """1 / (1 + exp(-x)) without an overflow on the way."""
    small = tl.exp(-tl.abs(x))
    return tl.where(x >= 0, 1.0, small) / (1.0 + small)


@triton.jit
def softplus(x):
    """log(1 + exp(x)), to fp32's precision also where the result is small.

    The logarithm is 2 artanh(e / (2 + e)) with e = exp(-|x|) <= 1, as a series: a GPU's own is inexact near 1, where
    the steps of a trained model lie.
    """
    small = tl.exp(-tl.abs(x))
    t = small / (2.0 + small)
    square = t * t
    series = 1.0 / 15.0
    series = series * square + 1.0 / 13.0
    series = series * square + 1.0 / 11.0
    series = series * square + 1.0 / 9.0
    series = series * square + 1.0 / 7.0
    series = series * square + 1.0 / 5.0
    series = series * square + 1.0 / 3.0
    series = series * square + 1.0
    return tl.maximum(x, 0.0) + 2.0 * t * series
