"""Attention over stretches: queries stay, keys and values are gathered (Nano: 1 KiB per token and layer).

Only the first piece of a stretch can look over its border; all others are attended to as ever. Stretches are
contiguous, so late ones meet more keys: of cp processes over one long sequence the last does (2 cp - 1) / cp times the
average.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right

from model.kernels.attention import attention
from model.layers.attention import AttentionMixer
from model.layout import PackedLayout
from model.parallel.collectives import gather_rows
from model.parallel.context_layout import ContextLayout

# Scores of one head worked on at a time where the mask has to be written out.
_SCORE_NUMBERS = 1 << 22


class ContextAttention(AttentionMixer):
    def attend(self, qkv: Tensor, residual: Tensor, layout: PackedLayout) -> Tensor:
        """residual + mixer for one stretch, whose joint projection [T_r, (Hq + 2 Hkv) dh] is known."""
        assert isinstance(layout, ContextLayout)
        queries = self.shape.num_heads * self.shape.head_dim
        kv = gather_rows(qkv[:, queries:], layout.sizes, layout.cp)
        count = layout.first_length
        reach = kv[layout.first - layout.before : layout.first + count]
        parts = [self._look_back(qkv[:count, :queries], reach, layout.before)]
        if layout.after_first is not None:
            parts.append(attention(qkv[count:], self.shape, layout.after_first))
        return self.o_proj.add_to(residual, torch.cat(parts))

    def _look_back(self, q: Tensor, kv: Tensor, before: int) -> Tensor:
        """q [n, Hq dh] against kv [before + n, 2 Hkv dh], causal at the right edge -> [n, Hq dh]."""
        heads = (-1, self.shape.head_dim)
        k, v = (part.unflatten(-1, heads).transpose(0, 1)[None] for part in kv.chunk(2, -1))
        queries = q.unflatten(-1, heads).transpose(0, 1)[None]
        size = max(1, _SCORE_NUMBERS // len(kv))
        outputs = []
        for first in range(0, len(q), size):
            block = queries[:, :, first : first + size]
            end = before + first + block.shape[2]
            mask = causal_lower_right(block.shape[2], end)
            grouped = self.shape.num_heads != self.shape.num_kv_heads
            outputs.append(
                F.scaled_dot_product_attention(block, k[:, :, :end], v[:, :, :end], mask, enable_gqa=grouped)
            )
        return torch.cat(outputs, 2)[0].transpose(0, 1).flatten(1)
