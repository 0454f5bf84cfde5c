"""Log-probability of the chosen token and entropy of its distribution, without ever holding all logits.

z = h W^T / temperature in chunks of tokens; logp = z_y - logsumexp(z); entropy = -sum p log p. fp32 at least.
The backward makes z again: dz = g (1_y - p) - g_H p (log p + entropy), then dh = dz W and dW += dz^T h. That is one
product more than with all logits kept, so where they are few they are kept (as probabilities).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from model.kernels import triton_support
from model.kernels.linear import product, weight_gradient
from model.kernels.native import logprob as native

# Logits worked on at a time on a CPU; a few megabytes stay in cache.
_CHUNK_NUMBERS = 1 << 20
# Probabilities kept for the backward: 32 MB in fp32.
_KEPT_NUMBERS = 1 << 23
# Of more logits than that, one chunk holds this part at most, so that its two buffers stay below a twentieth (a GPU's
# second one is half as wide), but not less rows than a product needs, nor more than repay.
_CPU_PART, _CPU_ROWS = 48, (8, 256)
_GPU_PART, _GPU_ROWS = 32, (128, 2048)
_ROWS_WORTH_A_PASS = 256


def linear_logprob(
    hidden: Tensor,
    weight: Tensor,
    targets: Tensor,
    chunk_numbers: int | None = None,
    *,
    temperature: float = 1.0,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """hidden [T, D], weight [V, D], targets [T] int64 -> (logprobs [T], entropy [T]), fp32 at least.

    The tokens may be of any number of packed sequences. mask [T] bool: tokens left out are not computed and give
    zeros. chunk_numbers: logits held at a time, chosen by the sizes when None. Raises ValueError for a temperature
    that is not positive.
    """
    if not temperature > 0:
        raise ValueError(f"temperature must be positive, got {temperature}; at 0 there is no distribution")
    if mask is not None:
        return _only_masked(hidden, weight, targets, chunk_numbers, temperature, mask)
    if chunk_numbers is None and native.takes(hidden, weight):
        return native.native_logprob(hidden, weight, targets, 1 / temperature)
    form: ChunkForm = TorchChunks()
    if triton_support.wanted(hidden):
        from model.kernels.logprob_triton import TritonChunks

        form = TritonChunks()
    rows = _rows_per_chunk(hidden, weight, chunk_numbers)
    result: tuple[Tensor, Tensor] = _LinearLogprob.apply(hidden, weight, targets, rows, 1 / temperature, form)
    return result


def linear_logprob_reference(
    hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """The specification, with all logits at once."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    log_probs = (torch.mm(hidden.to(wide), weight.to(wide).t()) / temperature).log_softmax(-1)
    entropy = -(log_probs.exp() * log_probs).sum(-1)
    return log_probs.gather(1, targets[:, None])[:, 0], entropy


class Statistics(NamedTuple):
    """What is known of each row of logits, [R] each: of the target, of the distribution, and its normaliser."""

    logprobs: Tensor
    entropy: Tensor
    normaliser: Tensor  # logsumexp


class ChunkForm(Protocol):
    """The work on one chunk of logits z [R, V]; z may be overwritten."""

    keeps: bool  # whether probabilities can be kept for the backward, where they are few

    def statistics(self, z: Tensor, targets: Tensor, keep: Tensor | None) -> Statistics:
        """Writes the probabilities to `keep` [R, V] where it is given."""

    def gradient(
        self,
        z: Tensor,
        known: Statistics,
        targets: Tensor,
        g: Tensor | None,
        g_entropy: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        """dz [R, V] in `dtype`."""


class TorchChunks:
    """One exponential per logit; two buffers of a chunk at most."""

    keeps = True

    def statistics(self, z: Tensor, targets: Tensor, keep: Tensor | None) -> Statistics:
        largest = z.amax(-1, keepdim=True)
        z.sub_(largest)
        picked = z.gather(1, targets[:, None])[:, 0]
        unscaled = torch.exp(z, out=keep) if keep is not None else z.exp()
        total = unscaled.sum(-1)
        log_total = total.log()
        # The sum of p z; p itself is only needed where it is kept.
        mean = z.mul_(unscaled).sum(-1).div_(total)
        if keep is not None:
            keep.mul_(total.reciprocal()[:, None])
        return Statistics(picked - log_total, log_total - mean, largest[:, 0] + log_total)

    def gradient(
        self,
        z: Tensor,
        known: Statistics,
        targets: Tensor,
        g: Tensor | None,
        g_entropy: Tensor | None,
        dtype: torch.dtype,
    ) -> Tensor:
        logp = z.sub_(known.normaliser[:, None])
        if g_entropy is None:
            return _with_targets(logp.exp_(), None, known.entropy, targets, g, None).to(dtype)
        return _with_targets(logp.exp(), logp, known.entropy, targets, g, g_entropy).to(dtype)


def _with_targets(
    p: Tensor, logp: Tensor | None, entropy: Tensor, targets: Tensor, g: Tensor | None, g_entropy: Tensor | None
) -> Tensor:
    """dz = g (1_y - p) - g_H p (log p + entropy), in the place of p; logp is overwritten too."""
    if logp is not None and g_entropy is not None:
        factor = logp.add_(entropy[:, None]).mul_(-g_entropy[:, None])
        dz = p.mul_(factor if g is None else factor.sub_(g[:, None]))
    else:
        assert g is not None
        dz = p.mul_(-g[:, None])
    return dz if g is None else dz.scatter_add_(1, targets[:, None], g[:, None])


def _only_masked(
    hidden: Tensor, weight: Tensor, targets: Tensor, chunk_numbers: int | None, temperature: float, mask: Tensor
) -> tuple[Tensor, Tensor]:
    rows = mask.nonzero()[:, 0]
    picked, labels = hidden.index_select(0, rows), targets.index_select(0, rows)
    parts = linear_logprob(picked, weight, labels, chunk_numbers, temperature=temperature)
    logprobs, entropy = (part.new_zeros(len(mask)).index_copy(0, rows, part) for part in parts)
    return logprobs, entropy


def _rows_per_chunk(hidden: Tensor, weight: Tensor, chunk_numbers: int | None) -> int:
    if chunk_numbers is not None:
        return max(1, chunk_numbers // len(weight))
    num_tokens, in_cache = len(hidden), max(1, _CHUNK_NUMBERS // len(weight))
    if hidden.device.type != "cpu":
        return max(_GPU_ROWS[0], min(_GPU_ROWS[1], num_tokens // _GPU_PART))
    if num_tokens * len(weight) <= _KEPT_NUMBERS:
        return in_cache
    return max(_CPU_ROWS[0], min(num_tokens // _CPU_PART, max(in_cache, _CPU_ROWS[1])))


def _chunks(num_tokens: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, num_tokens)) for first in range(0, num_tokens, size))


class _Head(NamedTuple):
    """The output head as its products take it: narrow operands on a GPU, which adds up in fp32; wide on a CPU."""

    weight: Tensor
    wide: torch.dtype
    inverse_temperature: float

    def logits(self, hidden: Tensor) -> Tensor:
        if self.weight.dtype == self.wide:
            z = product(hidden, self.weight)
        else:
            z = torch.mm(hidden, self.weight.t(), out_dtype=self.wide)
        return z if self.inverse_temperature == 1 else z.mul_(self.inverse_temperature)

    def add_weight_gradient(self, total: Tensor, dz: Tensor, hidden: Tensor) -> None:
        if self.weight.dtype == self.wide:
            # With few rows a pass over the matrix costs more than the product, so add inside the product.
            if len(dz) < _ROWS_WORTH_A_PASS:
                total.addmm_(dz.t(), hidden)
            else:
                total += weight_gradient(dz, hidden)
        else:
            total += torch.mm(dz.t(), hidden, out_dtype=self.wide)


def _head(hidden: Tensor, weight: Tensor, inverse_temperature: float) -> tuple[_Head, Tensor]:
    """The head, and the hidden states in the dtype that it multiplies with."""
    wide = torch.promote_types(hidden.dtype, torch.float32)
    if hidden.is_cuda and hidden.dtype == weight.dtype:
        return _Head(weight, wide, inverse_temperature), hidden
    # Products of narrow numbers would come back rounded; logits must not be.
    return _Head(weight.to(wide), wide, inverse_temperature), hidden.to(wide)


class _LinearLogprob(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        size: int,
        inverse_temperature: float,
        form: ChunkForm,
    ) -> tuple[Tensor, Tensor]:
        head, rows_in = _head(hidden, weight, inverse_temperature)
        num_tokens, few = len(hidden), len(hidden) * len(weight) <= _KEPT_NUMBERS
        kept = None
        if few and form.keeps and any(ctx.needs_input_grad[:2]):
            kept = torch.empty((num_tokens, len(weight)), dtype=head.wide, device=hidden.device)
        known = Statistics(*(torch.empty(num_tokens, dtype=head.wide, device=hidden.device) for _ in range(3)))
        for rows in _chunks(num_tokens, size):
            part = form.statistics(head.logits(rows_in[rows]), targets[rows], None if kept is None else kept[rows])
            for whole, values in zip(known, part, strict=True):
                whole[rows] = values
        ctx.save_for_backward(hidden, weight, targets, kept, *known)
        ctx.size, ctx.inverse_temperature, ctx.form = size, inverse_temperature, form
        ctx.set_materialize_grads(False)
        return known.logprobs, known.entropy

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor | None, g_entropy: Tensor | None) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, kept, *known = ctx.saved_tensors
        if g is None and g_entropy is None:
            return None, None, None, None, None, None
        head, rows_in = _head(hidden, weight, ctx.inverse_temperature)
        # z is linear in 1 / temperature, and so is every gradient that passes it.
        g, g_entropy = (None if part is None else part * ctx.inverse_temperature for part in (g, g_entropy))
        d_hidden = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        d_weight = torch.zeros_like(weight, dtype=head.wide) if ctx.needs_input_grad[1] else None
        for rows in _chunks(len(hidden), ctx.size):
            here = Statistics(*(part[rows] for part in known))
            grads = (None if part is None else part[rows] for part in (g, g_entropy))
            if kept is None:
                z = head.logits(rows_in[rows])
                dz = ctx.form.gradient(z, here, targets[rows], *grads, dtype=head.weight.dtype)
                del z  # its memory serves the next chunk
            else:
                dz = _gradient_of_kept(kept[rows], here, targets[rows], *grads)
            if d_hidden is not None:
                d_hidden[rows] = product(dz, head.weight.t())
            if d_weight is not None:
                head.add_weight_gradient(d_weight, dz, rows_in[rows])
            del dz
        return d_hidden, None if d_weight is None else d_weight.to(weight.dtype), None, None, None, None


def _gradient_of_kept(
    p: Tensor, known: Statistics, targets: Tensor, g: Tensor | None, g_entropy: Tensor | None
) -> Tensor:
    """As `ChunkForm.gradient`, from probabilities; they are left as they are, for a second backward."""
    logp = None if g_entropy is None else p.clamp_min(torch.finfo(p.dtype).tiny).log_()
    return _with_targets(p.clone(), logp, known.entropy, targets, g, g_entropy)
