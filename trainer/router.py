"""Expert load: the router's weights are frozen in reinforcement, its selection bias follows the load.

    b_i ← b_i + u · sign(mean(c) - c_i)          c: tokens per expert over the whole step (arXiv 2408.15664)

The bias moves once per training step, after the last optimizer step: every log-probability of a step is then of one
routing. Counts come from training forwards only, never from scoring, once however often a layer is computed again, and
are added up over data-parallel processes before the sign is taken. The published weights carry the bias. The moves of
a layer add up to nothing, so the bias does not drift. Where a sample's experts were recorded they are replayed, and
the load that is counted is theirs.

Supervised training may add the sequence-wise balancing loss (`sft.aux_loss_coef`); reinforcement never does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from model.routing import BalanceTerms, balance_terms
from model.stack import HybridModel

Reduce = Callable[[Tensor], Tensor]
"""Adds up a tensor over data-parallel processes and returns the sum, the same on each."""


def balance(model: HybridModel, rate: float, reduce: Reduce | None = None) -> dict[str, float]:
    """Report the load of this step's training forwards, then move the biases by `rate` (0 moves nothing).

    `reduce` is called once, with the counts of all layers [layers, experts], on every process or on none; a model
    of `model.parallel` adds its counts up itself and takes none.
    """
    layers = list(model.moe_layers())
    if reduce is not None and layers:
        totals = reduce(torch.stack([layer.expert_counts for layer in layers]))
        for layer, total in zip(layers, totals, strict=True):
            layer.expert_counts.copy_(total)
    counts = [layer.expert_counts.double() for layer in layers]
    loaded = [count for count in counts if count.sum() > 0]
    model.update_expert_bias(rate)
    return violation_metrics(loaded)


def violation_metrics(loaded: Sequence[Tensor]) -> dict[str, float]:
    """What is logged of the tokens per expert [experts] of each layer that had any."""
    if not loaded:
        return {}
    violations = [max_violation(count) for count in loaded]
    return {
        "moe/max_vio": max(violations),
        "moe/mean_vio": sum(violations) / len(violations),
        "moe/unused_experts": float(sum(int((count == 0).sum()) for count in loaded)),
    }


def max_violation(counts: Tensor) -> float:
    """max(c) / mean(c) - 1: 0 when every expert has the same load."""
    return float(counts.max() / counts.mean() - 1.0)


@contextmanager
def auxiliary(model: HybridModel, cu_seqlens: Tensor, coefficient: float) -> Iterator[BalanceTerms | None]:
    """Balancing losses of the passes inside the block, kept open until their backward has run; None at 0."""
    if not coefficient:
        yield None
        return
    with balance_terms(model, cu_seqlens, coefficient) as terms:
        yield terms
