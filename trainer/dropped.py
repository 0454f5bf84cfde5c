"""Sequences that are dropped from a batch leave its normaliser too.

Which ones they are is known from their log-probabilities, and where those are the training forward's own, gradients of
the rest have been added up over the whole N by then:

    N' = N - what was dropped        loss, gradients ← loss, gradients · N / N'
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trainer.objective import normaliser
from trainer.recipe_parts import Aggregate


def share_of_dropped(kept: Tensor, sequence: Tensor, aggregate: Aggregate) -> float:
    """What of N the sequences are that `kept` bool[S] leaves out; `sequence` i64[M] as in `surrogate`."""
    return normaliser(int((~kept[sequence]).sum()), int((~kept).sum()), aggregate)


@torch.no_grad()
def leave_out(model: nn.Module, dropped: float, whole: float) -> float:
    """Scale every gradient of a loss over `whole` to one over what is left; returns the factor. Where all of it was
    dropped there is no gradient, and the factor is 1."""
    if not 0.0 < dropped < whole:
        return 1.0
    factor = whole / (whole - dropped)
    for parameter in model.parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(factor)
    return factor
