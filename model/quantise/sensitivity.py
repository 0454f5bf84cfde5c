"""Which layers FP8 hurts: quantise one class at a time and measure how far the model's predictions move.

    KL(p || q) = sum_v p(v) (log p(v) - log q(v))        p: the model as it is, q: a class in FP8; nats a token

Weights and inputs of the class are fake-quantised with static scales, everything else stays. The last rows quantise
what the rule takes (`model.counting.fp8_excluded`), without and with the key-value cache, and everything at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from model.layers.linear import Linear
from model.quantise.calibration import Amax, passes
from model.quantise.fake import fake_quantised
from model.quantise.scales import Scales, scales_of
from model.quantise.sites import CLASSES, quantised_linears, sites, weights_of
from model.stack import HybridModel

CACHE, RULE, RULE_AND_CACHE, EVERYTHING = "key-value cache", "the rule", "the rule and the cache", "everything"
_LOGIT_NUMBERS = 1 << 24


class Sensitivity(NamedTuple):
    """One row: what was quantised, how much of the model it is, and what that did to the predictions."""

    quantised: str
    linears: int
    parameters: int
    kl_mean: float  # nats per token
    kl_max: float
    same_top_token: float  # share of tokens whose likeliest successor stays

    @property
    def saved_bytes(self) -> int:
        """Bytes saved against bf16, the two scales of each linear layer taken off."""
        return self.parameters - 8 * self.linears


@torch.no_grad()
def sensitivity_sweep(
    model: HybridModel, amax: Amax, samples: Sequence[Sequence[int]], tokens_per_pass: int = 4096
) -> list[Sensitivity]:
    """Compare on `samples` (token ids, best not those of the calibration); classes the model lacks have no row.

    Rows come in the order of the classes, then the combined ones. Raises ValueError as `scales_of`.
    """
    everything = scales_of(model, amax, [name for site in sites(model) for name in site.names])
    sizes = {n: w.numel() for site in sites(model) for n, w in zip(site.names, weights_of(site), strict=True)}
    was_training, head = model.training, model.lm_head
    model.eval()
    try:
        batches = [_packed(batch, model.device) for batch in passes(samples, tokens_per_pass)]
        before = [model(*batch) for batch in batches]
        rows = []
        for label, scales in _combinations(model, everything):
            meter = _Meter()
            with fake_quantised(model, scales):
                for batch, hidden in zip(batches, before, strict=True):
                    meter.compare(hidden, head, model(*batch), model.lm_head)
            numbers = sum(sizes[name] for name in scales.weights)
            rows.append(Sensitivity(label, len(scales.weights), numbers, *meter.result()))
    finally:
        model.train(was_training)
    return rows


def _combinations(model: HybridModel, everything: Scales) -> list[tuple[str, Scales]]:
    found = []
    for kind in CLASSES:
        names = [name for site in sites(model) if site.kind == kind for name in site.names]
        if names:
            found.append((kind, everything.only(names)))
    rule = everything.only(quantised_linears(model.config))
    cache = everything.cache
    if cache:
        found.append((CACHE, Scales(cache=cache)))
    found.append((RULE, rule))
    if cache:
        found.append((RULE_AND_CACHE, Scales(rule.weights, rule.inputs, cache)))
    return [*found, (EVERYTHING, everything)]


def _packed(batch: list[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    ids = torch.tensor([token for sample in batch for token in sample], device=device)
    return ids, torch.tensor([0, *(len(sample) for sample in batch)]).cumsum(0)


class _Meter:
    def __init__(self) -> None:
        self.total, self.largest, self.same, self.count = 0.0, 0.0, 0, 0

    def compare(self, p_hidden: Tensor, p_head: Linear, q_hidden: Tensor, q_head: Linear) -> None:
        """A stretch of tokens at a time, for logits of all tokens may not fit."""
        size = max(1, _LOGIT_NUMBERS // len(p_head.weight))
        for p_part, q_part in zip(p_hidden.split(size), q_hidden.split(size), strict=True):
            p, q = (head(part).double().log_softmax(-1) for head, part in ((p_head, p_part), (q_head, q_part)))
            kl = (p.exp() * (p - q)).sum(-1)
            self.total += float(kl.sum())
            self.largest = max(self.largest, float(kl.max()))
            self.same += int((p.argmax(-1) == q.argmax(-1)).sum())
            self.count += len(kl)

    def result(self) -> tuple[float, float, float]:
        return self.total / self.count, self.largest, self.same / self.count
