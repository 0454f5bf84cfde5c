"""Expert load without an auxiliary loss: the router's weights are frozen, its selection bias follows the load.

    b_i ← b_i + u · sign(mean(c) - c_i)          c: tokens per expert over the whole step (arXiv 2408.15664)

The bias moves once per training step, after the last optimizer step: every log-probability of a step is then of one
routing. Counts come from training forwards only, never from scoring. The published weights carry the bias.
"""

from __future__ import annotations

from torch import Tensor

from model.stack import HybridModel


def balance(model: HybridModel, rate: float) -> dict[str, float]:
    """Report the load of this step's training forwards, then move the biases by `rate` (0 moves nothing)."""
    counts = [layer.expert_counts.double() for layer in model.moe_layers()]
    loaded = [count for count in counts if count.sum() > 0]
    model.update_expert_bias(rate)
    if not loaded:
        return {}
    return {
        "moe/max_vio": max(max_violation(count) for count in loaded),
        "moe/unused_experts": float(sum(int((count == 0).sum()) for count in loaded)),
    }


def max_violation(counts: Tensor) -> float:
    """max(c) / mean(c) - 1: 0 when every expert has the same load."""
    return float(counts.max() / counts.mean() - 1.0)
