"""Log-probability of the chosen token and entropy of its distribution, without ever holding all logits.

z = h W^T in chunks of tokens; logp = z_y - logsumexp(z); entropy = -sum p log p. fp32 at least.
The backward recomputes z: dz = g (1_y - p) - g_H p (log p + entropy), then dh = dz W and dW += dz^T h.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels.linear import product, weight_gradient

# Logits held at a time; a few megabytes stay in cache.
_CHUNK_NUMBERS = 1 << 20


def linear_logprob(
    hidden: Tensor, weight: Tensor, targets: Tensor, chunk_numbers: int = _CHUNK_NUMBERS
) -> tuple[Tensor, Tensor]:
    """hidden [T, D], weight [V, D], targets [T] int64 -> (logprobs [T], entropy [T]), fp32 at least."""
    result: tuple[Tensor, Tensor] = _LinearLogprob.apply(hidden, weight, targets, chunk_numbers)
    return result


def linear_logprob_reference(hidden: Tensor, weight: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """The specification, with all logits at once."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    log_probs = torch.mm(hidden, weight.t()).to(wide).log_softmax(-1)
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    return log_probs.gather(1, targets[:, None])[:, 0], entropy


def _chunks(num_tokens: int, vocab_size: int, chunk_numbers: int) -> list[slice]:
    size = max(1, chunk_numbers // vocab_size)
    return [slice(first, min(first + size, num_tokens)) for first in range(0, num_tokens, size)]


class _LinearLogprob(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, chunk_numbers: int) -> tuple[Tensor, Tensor]:
        wide = torch.promote_types(hidden.dtype, torch.float32)
        logprobs = torch.empty(len(hidden), dtype=wide, device=hidden.device)
        entropy = torch.empty_like(logprobs)
        for rows in _chunks(len(hidden), len(weight), chunk_numbers):
            logits = product(hidden[rows], weight).to(wide)
            log_probs = logits.log_softmax(-1)
            logprobs[rows] = log_probs.gather(1, targets[rows, None])[:, 0]
            # The fused softmax is quicker than the exponential of what is already there.
            entropy[rows] = logits.softmax(-1).mul_(log_probs).sum(-1).neg_()
        ctx.save_for_backward(hidden, weight, targets, entropy)
        ctx.chunk_numbers = chunk_numbers
        ctx.set_materialize_grads(False)
        return logprobs, entropy

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, grad_logprob: Tensor | None, grad_entropy: Tensor | None
    ) -> tuple[Tensor | None, Tensor | None, None, None]:
        hidden, weight, targets, entropy = ctx.saved_tensors
        if grad_logprob is None and grad_entropy is None:
            return None, None, None, None
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.zeros_like(weight, dtype=entropy.dtype)
        for rows in _chunks(len(hidden), len(weight), ctx.chunk_numbers):
            logits = product(hidden[rows], weight).to(entropy.dtype)
            dz = logits.softmax(-1)
            if grad_entropy is None:
                assert grad_logprob is not None
                dz.mul_(-grad_logprob[rows, None])
            else:
                scale = logits.log_softmax(-1).add_(entropy[rows, None]).mul_(-grad_entropy[rows, None])
                dz.mul_(scale if grad_logprob is None else scale.sub_(grad_logprob[rows, None]))
            if grad_logprob is not None:
                dz.scatter_add_(1, targets[rows, None], grad_logprob[rows, None].to(dz.dtype))
            d_hidden[rows] = product(dz.to(weight.dtype), weight.t())
            d_weight += weight_gradient(dz, hidden[rows].to(dz.dtype))
        return d_hidden, d_weight.to(weight.dtype), None, None
