"""Activation checkpointing by kind of layer: keep a layer's input, compute the layer again in the backward pass.

(Chen et al., 1604.06174.) The second computation is the same operations on the same numbers, so gradients are equal to
the bit; what a layer counts or records, it does in the first pass alone (`layers/moe.py`).
"""

from __future__ import annotations

from torch import Tensor
from torch.utils.checkpoint import checkpoint

from model.config import LAYER_NAMES
from model.layers.block import Block
from model.layout import PackedLayout


def layer_kinds(letters: str) -> frozenset[str]:
    """The kinds named by pattern letters, such as "ME" or "M*E". Raises ValueError for any other letter."""
    kinds = frozenset(letters)
    if kinds - set(LAYER_NAMES):
        raise ValueError(f"recompute must be made of the letters {''.join(LAYER_NAMES)}, got {letters!r}")
    return kinds


def recomputed(block: Block, hidden: Tensor, layout: PackedLayout, counted: Tensor | None) -> Tensor:
    """block(hidden, layout, counted), keeping nothing of the layer but its input until backward."""

    result: Tensor = checkpoint(block, hidden, layout, counted, use_reentrant=False, preserve_rng_state=False)
    return result
