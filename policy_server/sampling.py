"""Drawing one token per row of logits, for the whole batch at once.

Noise is counter-based: the uniform number of a draw is a hash of (seed, position), so it depends neither on the other
rows of the batch nor on how many draws came before. A token is the inverse of the cumulative distribution at that
number: one number a row, and equal to sampling the (nucleus of the) softmax.

Rows that nothing narrows take the compiled form on a CPU, the others torch's: which one depends on the row alone.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from model.kernels.native import draw as native

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


class Drawn(NamedTuple):
    """tokens i64[B]; logprobs f32[B] of log-softmax(logits / temperature) at them.

    drift f32[B]: by how much the log-probability of the token was moved before it was drawn; 0 where nothing steered.
    """

    tokens: Tensor
    logprobs: Tensor
    drift: Tensor


class Steered(NamedTuple):
    """Rows [n] of the batch and logits [n, V] that they are drawn from instead of the policy's own."""

    rows: Tensor
    logits: Tensor


def draw(
    logits: Tensor,
    temperature: np.ndarray,
    top_p: np.ndarray,
    uniform: np.ndarray,
    steered: Steered | None = None,
) -> Drawn:
    """Sample one token a row.

    logits [B, V]; temperature f32[B], 0 meaning greedy; top_p f32[B]; uniform f64[B] in [0, 1). Log-probabilities are
    before top-p, a greedy row's at temperature 1. A row whose logits are not finite gives one that is not finite.
    """
    if not native.takes(logits):
        return _draw(logits, temperature, top_p, uniform, steered)
    narrowed = top_p < 1.0
    if steered is not None:
        narrowed[steered.rows.numpy()] = True
    if narrowed.all():
        return _draw(logits, temperature, top_p, uniform, steered)
    tokens, logprobs = native.draw(logits, _like(temperature, logits), torch.from_numpy(uniform))
    drift = torch.zeros(len(tokens))
    if narrowed.any():
        rows = np.flatnonzero(narrowed)
        at = torch.from_numpy(rows)
        if steered is not None:
            steered = Steered(torch.from_numpy(np.searchsorted(rows, steered.rows.numpy())), steered.logits)
        part = _draw(logits[at], temperature[rows], top_p[rows], uniform[rows], steered)
        tokens[at], logprobs[at], drift[at] = part.tokens, part.logprobs.to(logprobs.dtype), part.drift
    return Drawn(tokens, logprobs.float(), drift)


def alternatives(
    logits: Tensor, temperature: np.ndarray, drawn: np.ndarray, logprobs: np.ndarray, most: int
) -> tuple[Tensor, Tensor]:
    """The `most` likeliest tokens [n, most] of each row and their log-probabilities, likeliest first.

    logits [n, V], temperature f32[n]; the tokens that were drawn i64[n] keep their logprobs f32[n] to the bit.
    """
    policy = _log_softmax(logits, _scale(temperature, logits))
    at = torch.from_numpy(drawn)[:, None].to(logits.device)
    policy.scatter_(1, at, torch.from_numpy(logprobs)[:, None].to(policy))
    values, tokens = policy.topk(min(most, policy.shape[1]))
    return tokens, values


def _draw(
    logits: Tensor, temperature: np.ndarray, top_p: np.ndarray, uniform: np.ndarray, steered: Steered | None
) -> Drawn:
    """As `draw`, in torch's operations over the whole batch."""
    greedy = temperature == 0.0
    scale = _scale(temperature, logits)
    policy = _log_softmax(logits, scale)
    source = policy
    if steered is not None:
        source = policy.index_copy(0, steered.rows, _log_softmax(steered.logits, scale[steered.rows]))
    tokens = source.argmax(-1) if greedy.all() else _inverse(source, top_p, uniform)
    if greedy.any() and not greedy.all():
        tokens = torch.where(torch.from_numpy(greedy).to(logits.device), source.argmax(-1), tokens)
    logprobs = policy.gather(1, tokens[:, None]).squeeze(1)
    if steered is None:
        return Drawn(tokens, logprobs, torch.zeros_like(logprobs))
    return Drawn(tokens, logprobs, (source.gather(1, tokens[:, None]).squeeze(1) - logprobs).abs())


def _like(numbers: np.ndarray, logits: Tensor) -> Tensor:
    return torch.from_numpy(numbers).to(logits)


def _scale(temperature: np.ndarray, logits: Tensor) -> Tensor:
    """What logits are divided by: 1 where greedy."""
    return _like(np.where(temperature == 0.0, np.float32(1), temperature), logits)


def _log_softmax(logits: Tensor, scale: Tensor) -> Tensor:
    logits = logits.float()
    return torch.log_softmax(logits if bool((scale == 1.0).all()) else logits / scale[:, None], dim=-1)


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
