"""Whether Triton can run here, and what every launcher of a Triton kernel needs.

Triton forms live in modules of their own (`ssd_triton`, `conv_triton`, ...), imported at the first call that wants one:
a machine without a GPU never loads Triton. With TRITON_INTERPRET=1 in the environment before that first import, the
same kernels run on CPU tensors in Triton's interpreter, slowly; that is how they are tested where there is no GPU.
"""

from __future__ import annotations

import importlib.util
import os
from functools import lru_cache

import torch
from torch import Tensor

_DOT_TYPES = (torch.float32, torch.bfloat16, torch.float16)


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether Triton is installed."""
    return importlib.util.find_spec("triton") is not None


def interpreting() -> bool:
    """Whether kernels run in Triton's interpreter. Decided by the environment when Triton is first imported."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")


def wanted(x: Tensor) -> bool:
    """Whether a dispatcher should take the Triton form: Triton, a GPU, and a dtype its matrix units know."""
    return x.is_cuda and x.dtype in _DOT_TYPES and available()


def next_power_of_2(n: int) -> int:
    """The smallest power of two that is at least n: block sizes must be powers of two."""
    return 1 << max(n - 1, 0).bit_length()


def dot_block(n: int) -> int:
    """The block of a dimension of n that enters `tl.dot`, whose operands are at least 16 in every dimension."""
    return max(16, next_power_of_2(n))


def blocks(n: int, block: int) -> int:
    """How many blocks cover n."""
    return -(-n // block)
