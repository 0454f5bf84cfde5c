"""Attention of new tokens over a long cache on a CPU: what all of them see, and what they see of each other, apart.

New token i sees every cached token and new tokens 0..i. The first part needs no mask and the second is plain causal, so
both run in torch's blockwise kernel, which never holds the scores; two softmaxes over parts of one row join by
    out = sum_p exp(lse_p - lse) out_p,   lse = log sum_p exp(lse_p)           (2205.14135, section 3.1)
Where there is a compiled form it reads both parts in one pass, three times as fast at narrow heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from model.kernels.native.attention_continued import attention_continued, takes

# Below this many cached tokens the plain form, many sequences at a time, is as fast.
LONG = 1024


def attend_continued(q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """q [Lq, Hq, dh] of the last Lq tokens against keys, values [Hkv, L, dh], L > Lq -> [Lq, Hq dh]."""
    if takes(q, keys, values):
        return attention_continued(q, keys, values)
    length, num_heads, _ = q.shape
    kv_heads, seen = len(keys), keys.shape[1] - length
    keys, values = keys.to(q.dtype), values.to(q.dtype)
    queries = q.transpose(0, 1)
    # The query heads of one key head are rows of one product.
    rows = queries.reshape(kv_heads, -1, q.shape[-1])
    before, before_lse = _blockwise(rows, keys[:, :seen], values[:, :seen], causal=False)
    before, before_lse = before.reshape(queries.shape), before_lse.reshape(num_heads, length)
    new_keys, new_values = (part[:, seen:].repeat_interleave(num_heads // kv_heads, 0) for part in (keys, values))
    new, new_lse = _blockwise(queries, new_keys, new_values, causal=True)
    share = torch.sigmoid(before_lse - new_lse)[..., None].to(q.dtype)
    return torch.lerp(new, before, share).transpose(0, 1).reshape(length, -1)


def _blockwise(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> tuple[Tensor, Tensor]:
    """[H, Lq, dh], [H, Lk, dh] -> outputs [H, Lq, dh] and the logarithm of each row's sum of exponentials [H, Lq]."""
    kernel = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out, lse = kernel(q[None], k[None], v[None], 0.0, causal)
    return out[0], lse[0]
