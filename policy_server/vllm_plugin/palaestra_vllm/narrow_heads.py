"""Attention heads of a width that vLLM's CPU kernel has not: computed at the next one that it has, with zeros.

softmax(q·k) and its weighted sum of v do not see zeros at the end of q, k and v; the scale is that of the real width.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad


def width_for(head_size: int, supported: Sequence[int]) -> int:
    """The smallest supported width that holds a head; the width itself where none does."""
    return min((width for width in supported if width >= head_size), default=head_size)


def widened(heads: Tensor, narrow: int, wide: int) -> Tensor:
    """[tokens, heads · narrow] or [tokens, heads, narrow] ─▶ [tokens, heads · wide]."""
    return pad(heads.reshape(heads.shape[0], -1, narrow), (0, wide - narrow)).flatten(1)


def apply(attention: Any, model_config: Any, supported: Sequence[int]) -> None:
    """Patch vLLM's `Attention` layer and what its model config says of head sizes."""
    init: Callable[..., None] = attention.__init__
    forward: Callable[..., Tensor] = attention.forward
    told: Callable[..., int] = model_config.get_head_size

    @functools.wraps(init)
    def wide_init(self: Any, num_heads: int, head_size: int, scale: float, *args: Any, **kwargs: Any) -> None:
        wide = width_for(head_size, supported)
        init(self, num_heads, wide, scale, *args, **kwargs)
        self.palaestra_narrow = head_size if wide != head_size else 0

    @functools.wraps(forward)
    def wide_forward(self: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        narrow = self.palaestra_narrow
        if not narrow:
            return forward(self, query, key, value, *args, **kwargs)
        wide = [widened(heads, narrow, self.head_size) for heads in (query, key, value)]
        output = forward(self, *wide)
        return torch.narrow(output.view(-1, self.num_heads, self.head_size), 2, 0, narrow).flatten(1)

    @functools.wraps(told)
    def wide_head_size(self: Any) -> int:
        return width_for(told(self), supported)

    attention.__init__, attention.forward, model_config.get_head_size = wide_init, wide_forward, wide_head_size
