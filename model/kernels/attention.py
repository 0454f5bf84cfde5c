"""Causal grouped-query attention without positions, over packed sequences and over cached keys and values.

Scale is head_dim^-0.5. `qkv` holds Hq query heads, then Hkv key heads, then Hkv value heads, each of head_dim numbers;
query head j reads key head j // (Hq / Hkv).
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from functools import lru_cache, partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from model.kernels.triton_layout import triton_layout
from model.kernels.triton_support import wanted
from model.layout import PackedLayout


class AttentionShape(NamedTuple):
    num_heads: int
    num_kv_heads: int
    head_dim: int

    def split(self, qkv: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """[..., (Hq + 2 Hkv) dh] -> q [..., Hq, dh], k [..., Hkv, dh], v [..., Hkv, dh]."""
        heads = qkv.unflatten(-1, (-1, self.head_dim))
        q, k, v = heads.split((self.num_heads, self.num_kv_heads, self.num_kv_heads), -2)
        return q, k, v


def attention(qkv: Tensor, shape: AttentionShape, layout: PackedLayout) -> Tensor:
    """qkv [T, (Hq + 2 Hkv) dh] -> [T, Hq dh]: torch's flash attention over packed rows on a GPU, else buckets."""
    if qkv.is_cuda and qkv.dtype in (torch.bfloat16, torch.float16) and _varlen() is not None:
        return _packed(qkv, shape, layout)
    return _bucketed(qkv, shape, layout)


def _bucketed(qkv: Tensor, shape: AttentionShape, layout: PackedLayout) -> Tensor:
    """Sequences of similar length share a padded batch."""
    rows, buckets = layout.padded
    spread = rows.spread(qkv)
    outputs = []
    for bucket in buckets:
        here = spread[bucket.offset : bucket.offset + bucket.batch * bucket.length]
        q, k, v = (part.transpose(1, 2) for part in shape.split(here.view(bucket.batch, bucket.length, -1)))
        # Padding is on the right, where causality already keeps it from every real token.
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=shape.num_heads != shape.num_kv_heads)
        outputs.append(out.transpose(1, 2).reshape(bucket.batch * bucket.length, -1))
    return rows.collect(torch.cat(outputs) if len(outputs) > 1 else outputs[0])


@lru_cache(maxsize=1)
def _varlen() -> Callable[..., Tensor] | None:
    """torch's attention over cu_seqlens, causal and grouped, where this torch has it in a form we know."""
    module = importlib.import_module("torch.nn.attention.varlen")
    known = inspect.signature(module.varlen_attn).parameters
    if "window_size" not in known:
        return None
    # Older ones take fewer key heads than query heads without being told.
    grouped = {"enable_gqa": True} if "enable_gqa" in known else {}
    return partial(module.varlen_attn, window_size=(-1, 0), **grouped)


def _packed(qkv: Tensor, shape: AttentionShape, layout: PackedLayout) -> Tensor:
    varlen = _varlen()
    assert varlen is not None
    bounds, longest = triton_layout(layout).cu_seqlens, int(layout.lengths.max())
    return varlen(*shape.split(qkv), bounds, bounds, longest, longest).flatten(1)


def attention_reference(qkv: Tensor, shape: AttentionShape, layout: PackedLayout) -> Tensor:
    """The specification: each sequence on its own, scores written out."""
    wide = torch.promote_types(qkv.dtype, torch.float32)
    outputs = []
    for start, length in zip(layout.starts.tolist(), layout.lengths.tolist(), strict=True):
        q, k, v = shape.split(qkv[start : start + length].to(wide))
        k, v = (part.repeat_interleave(shape.num_heads // shape.num_kv_heads, 1) for part in (k, v))
        scores = torch.einsum("ihd,jhd->hij", q, k) * shape.head_dim**-0.5
        future = torch.ones(length, length, dtype=torch.bool, device=qkv.device).triu(1)
        weights = scores.masked_fill(future, float("-inf")).softmax(-1)
        outputs.append(torch.einsum("hij,jhd->ihd", weights, v).flatten(1))
    return torch.cat(outputs).to(qkv.dtype)


def attend_cached(q: Tensor, keys: Tensor, values: Tensor, visible: Tensor, slots: Tensor | None = None) -> Tensor:
    """q [B, Lq, Hq, dh] against cached keys and values [S, Hkv, Lk, dh] -> [B, Lq, Hq dh].

    visible [B, Lq]: how many cached positions each query may read (its own included), at least one. slots [B]: whose
    keys and values each row reads (None: row b those of slot b).
    """
    if wanted(q) and not torch.is_grad_enabled():
        from model.kernels.attention_triton import triton_attend_cached

        return triton_attend_cached(q, keys, values, visible, slots)
    if slots is not None:
        keys, values = keys.index_select(0, slots), values.index_select(0, slots)
    batch, queries, num_heads, head_dim = q.shape
    kv_heads, positions = keys.shape[1:3]
    # The query heads of one key head are rows of one product: [B*Hkv, R*Lq, dh].
    rows = q.view(batch, queries, kv_heads, -1, head_dim).permute(0, 2, 3, 1, 4).reshape(batch * kv_heads, -1, head_dim)
    scores = torch.bmm(rows, keys.flatten(0, 1).transpose(1, 2)).mul_(head_dim**-0.5)
    hidden = torch.arange(positions, device=q.device) >= visible[..., None]
    by_query = scores.view(batch, -1, queries, positions).masked_fill_(hidden[:, None], float("-inf"))
    weights = by_query.softmax(-1, dtype=torch.promote_types(q.dtype, torch.float32)).to(q.dtype)
    out = torch.bmm(weights.view_as(scores), values.flatten(0, 1)).view(batch, num_heads, queries, head_dim)
    return out.transpose(1, 2).reshape(batch, queries, -1)
