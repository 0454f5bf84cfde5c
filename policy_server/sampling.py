"""Drawing one token per row of logits, for the whole batch at once.

Noise is counter-based: the uniform number of a draw is a hash of (seed, position), so it depends neither on the other
rows of the batch nor on how many draws came before. A token is the inverse of the cumulative distribution at that
number: one number a row, and equal to sampling the (nucleus of the) softmax.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64 (Steele, Lea, Flood 2014), on u64 arrays."""
    x = (x ^ (x >> _S30)) * _MIX1
    x = (x ^ (x >> _S27)) * _MIX2
    return x ^ (x >> _S31)


def stream(seed: int) -> int:
    """The 64-bit stream of a seed; neighbouring seeds give unrelated streams."""
    return int(_mix(np.array([seed & 0xFFFFFFFFFFFFFFFF], dtype=np.uint64) + _GOLDEN)[0])


def uniforms(streams: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """f64[B] in [0, 1) from streams u64[B] and positions i64[B]; a pure function of each pair."""
    return (_mix(streams + (positions.astype(np.uint64) + np.uint64(1)) * _GOLDEN) >> _S11) * 2.0**-53


def draw(logits: Tensor, temperature: np.ndarray, top_p: np.ndarray, uniform: np.ndarray) -> tuple[Tensor, Tensor]:
    """Sample one token a row.

    logits [B, V]; temperature f32[B], 0 meaning greedy; top_p f32[B]; uniform f64[B] in [0, 1).
    Returns token ids i64[B] and f32[B] log-softmax(logits / temperature) at them, before top-p; a greedy row's is at
    temperature 1. A row whose logits are not finite gives a log-probability that is not finite.
    """
    logits = logits.float()
    greedy = temperature == 0.0
    if greedy.any() or (temperature != 1.0).any():
        scale = torch.from_numpy(np.where(greedy, np.float32(1), temperature)).to(logits.device)
        logits = logits / scale[:, None]
    logprobs = torch.log_softmax(logits, dim=-1)
    tokens = logprobs.argmax(-1) if greedy.all() else _inverse(logprobs, top_p, uniform)
    if greedy.any() and not greedy.all():
        tokens = torch.where(torch.from_numpy(greedy).to(logits.device), logprobs.argmax(-1), tokens)
    return tokens, logprobs.gather(1, tokens[:, None]).squeeze(1)


def _inverse(logprobs: Tensor, top_p: np.ndarray, uniform: np.ndarray) -> Tensor:
    probs = logprobs.exp()
    if (top_p < 1.0).any():
        rows = torch.from_numpy(np.flatnonzero(top_p < 1.0)).to(probs.device)
        limit = torch.from_numpy(top_p[top_p < 1.0]).to(probs.device)
        probs = probs.index_copy(0, rows, nucleus(probs[rows], limit))
    edges = probs.cumsum(-1, dtype=torch.float64)
    total = edges[:, -1]
    target = torch.from_numpy(uniform).to(probs.device) * total
    # u * total may round up to total, beyond the last token that has any probability
    target = torch.minimum(target, torch.nextafter(total, torch.zeros_like(total)))
    return torch.searchsorted(edges, target[:, None], right=True).squeeze(1).clamp_(max=probs.shape[1] - 1)


def nucleus(probs: Tensor, top_p: Tensor) -> Tensor:
    """probs [B, V] with everything outside the smallest set of mass >= top_p [B] set to 0 (not renormalised)."""
    ordered, order = probs.sort(dim=-1, descending=True, stable=True)
    before = ordered.cumsum(-1) - ordered
    # the first is always kept: at top_p = 0 a row would otherwise be empty
    keep = before < top_p[:, None].clamp(min=1e-9)
    return torch.zeros_like(probs).scatter(1, order, ordered * keep)
