"""Grouped-query attention mixer without position encoding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from model.config import HybridConfig
from model.kernels.attention import AttentionShape, attend_cached, attention
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
        self, qkv: Tensor, residual: Tensor, layout: PackedLayout, keys: Tensor, values: Tensor, seen: Tensor
    ) -> Tensor:
        """residual + mixer for new tokens whose keys and values are already in the cache.

        keys, values [B, Hkv, L, dh], the cache rows of these sequences; seen [B]: tokens cached before the new ones.
        """
        rows, buckets = layout.padded
        queries, _, _ = self.shape.split(rows.take(qkv))
        outputs = []
        for bucket in buckets:
            here = slice(bucket.offset, bucket.offset + bucket.batch * bucket.length)
            q = queries[here].unflatten(0, (bucket.batch, bucket.length))
            before = seen[bucket.sequences]
            reach = int(before.max()) + bucket.length
            k, v = (part[bucket.sequences][:, :, :reach] for part in (keys, values))
            visible = before[:, None] + torch.arange(1, bucket.length + 1, device=before.device)
            size = max(1, _SCORE_NUMBERS // (bucket.batch * self.shape.num_heads * reach))
            blocks = [slice(first, first + size) for first in range(0, bucket.length, size)]
            out = torch.cat([attend_cached(q[:, block], k, v, visible[:, block]) for block in blocks], 1)
            outputs.append(out.flatten(0, 1))
        return self.o_proj.add_to(residual, rows.put_back(torch.cat(outputs)))
