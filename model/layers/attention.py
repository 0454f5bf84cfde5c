"""Grouped-query attention mixer without position encoding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import HybridConfig
from model.kernels.attention import AttentionShape, attend_cached, attention
from model.layers.attention_long import LONG, attend_continued
from model.layers.linear import Linear
from model.layout import PackedLayout

# Scores held at a time when new queries meet a cache.
_SCORE_NUMBERS = 1 << 22


class AttentionMixer(nn.Module):
    """qkv_proj rows are all query heads, all key heads, all value heads (released as three matrices)."""

    def __init__(self, config: HybridConfig, device: torch.device | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.shape = AttentionShape(config.num_attention_heads, config.num_key_value_heads, config.head_dim)
        self.qkv_proj = Linear(config.hidden_size, config.qkv_size, device, dtype)
        self.o_proj = Linear(config.num_attention_heads * config.head_dim, config.hidden_size, device, dtype)

    def forward(self, x: Tensor, residual: Tensor, layout: PackedLayout) -> Tensor:
        """x, residual [T, D] -> residual + mixer(x)."""
        return self.attend(self.qkv_proj(x), residual, layout)

    def attend(self, qkv: Tensor, residual: Tensor, layout: PackedLayout) -> Tensor:
        """residual + mixer for whole sequences whose joint projection [T, (Hq + 2 Hkv) dh] is known."""
        return self.o_proj.add_to(residual, attention(qkv, self.shape, layout))

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x [T, D] -> the joint projection [T, (Hq + 2 Hkv) dh] and in it the keys and values [T, Hkv, dh]."""
        qkv = self.qkv_proj(x)
        _, keys, values = self.shape.split(qkv)
        return qkv, keys, values

    def continue_from(
        self,
        qkv: Tensor,
        residual: Tensor,
        layout: PackedLayout,
        keys: Tensor,
        values: Tensor,
        slots: Tensor,
        seen: Tensor,
    ) -> Tensor:
        """residual + mixer for new tokens whose keys and values are already in the cache.

        keys, values [S, Hkv, capacity, dh] of all slots; slots [B]: those of these sequences; seen [B]: tokens cached
        before the new ones. slots and seen live on the CPU.
        """
        rows, buckets = layout.padded
        queries, _, _ = self.shape.split(rows.take(qkv))
        outputs = []
        for bucket in buckets:
            here = slice(bucket.offset, bucket.offset + bucket.batch * bucket.length)
            q = queries[here].unflatten(0, (bucket.batch, bucket.length))
            chosen = bucket.sequences.cpu()
            outputs.append(self._continue_bucket(q, keys, values, slots[chosen], seen[chosen]).flatten(0, 1))
        return self.o_proj.add_to(residual, rows.put_back(torch.cat(outputs)))

    def _continue_bucket(self, q: Tensor, keys: Tensor, values: Tensor, slots: Tensor, seen: Tensor) -> Tensor:
        """q [B, L, Hq, dh] -> [B, L, Hq dh]."""
        batch, length = q.shape[:2]
        reach = int(seen.max()) + length
        if batch == 1 and q.device.type == "cpu" and reach - length >= LONG:
            slot = int(slots[0])
            return attend_continued(q[0], keys[slot, :, :reach], values[slot, :, :reach])[None]
        visible = (seen[:, None] + torch.arange(1, length + 1)).to(q.device)
        size = max(1, _SCORE_NUMBERS // (batch * self.shape.num_heads * reach))
        k, v = keys[:, :, :reach], values[:, :, :reach]
        chosen: Tensor | None = slots.to(q.device)
        if not q.is_cuda:  # select once, not once for each block
            k, v, chosen = k.index_select(0, slots), v.index_select(0, slots), None
        blocks = [slice(first, first + size) for first in range(0, length, size)]
        return torch.cat([attend_cached(q[:, block], k, v, visible[:, block], chosen) for block in blocks], 1)
