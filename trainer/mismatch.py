"""How far the sampler's log-probabilities are from the trainer's, on the same tokens and the same weights.

    token_mult_prob_error = mean exp|log π_gen - log π_train|     1 when they agree; NeMo RL's name and gate
    gen_kl_error          = mean (ρ - 1 - log ρ), ρ = π_train / π_gen   the k3 estimate of KL(gen ‖ train)

Both are sums over tokens divided once; a mean past the gate refuses the whole step. What is left is corrected by a
weight per token. With w_t = π_old / π_gen and the unit u, one of

    token                w_t                        sequence_mean       mean_t w_t
    sequence_geometric   exp(mean_t log w_t)        sequence_error      mean_t exp|log w_t|

    truncate   min(u, high)                 (`sequence_error` only gates: it has no weight to give)
    mask       u inside [low, high], 0 outside
    reject     w_t where u is inside [low, high], 0 outside

`sequence_error_max` drops sequences beyond it from the batch, as NeMo RL does: they count in no normaliser either,
while masked and rejected tokens do. IcePop (arXiv 2510.18855) is token × mask; truncated importance sampling is token ×
truncate; NeMo RL's sequence mask is sequence_error × reject. Averages over a sequence are means, not sums: a sum would
punish length.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gym_core.errors import PalaestraError
from trainer.config import ObjectiveRecipe
from trainer.objective import sequence_means
from trainer.recipe_parts import Action, Unit


class MismatchExceeded(PalaestraError):
    """Sampler and trainer disagree past the gate: nothing was trained in this step."""

    code: ClassVar[str] = "mismatch_exceeded"


@dataclass(slots=True, frozen=True)
class ImportancePolicy:
    """What is done where sampler and trainer disagree. `sequence_error_max`, where given, drops whole sequences
    whatever the rest says."""

    unit: Unit = "token"
    action: Action = "mask"
    low: float = 0.2
    high: float = 5.0
    sequence_error_max: float | None = None

    @classmethod
    def of(cls, recipe: ObjectiveRecipe) -> ImportancePolicy:
        """What a recipe asks for."""
        return cls(
            recipe.importance_unit,
            recipe.importance,
            recipe.importance_low,
            recipe.importance_high,
            recipe.sequence_error_max or None,
        )

    def weights(self, old_logprobs: Tensor, gen_logprobs: Tensor, sequence: Tensor, num_sequences: int) -> Tensor:
        """The weight of each trained token [M]; never a gradient, 0 where it is not a number."""
        log_w = old_logprobs.detach() - gen_logprobs
        weights = self._weigh(log_w, sequence, num_sequences)
        if (kept := self.kept(old_logprobs, gen_logprobs, sequence, num_sequences)) is not None:
            weights = torch.where(kept[sequence], weights, torch.zeros_like(weights))
        return torch.where(log_w.isfinite(), weights, torch.zeros_like(weights))

    def kept(self, old_logprobs: Tensor, gen_logprobs: Tensor, sequence: Tensor, num_sequences: int) -> Tensor | None:
        """Whether each sequence [S] stays in the batch; None where none is ever dropped."""
        if self.sequence_error_max is None:
            return None
        error = (old_logprobs.detach() - gen_logprobs).abs().exp()
        return sequence_means(error, sequence, num_sequences) <= self.sequence_error_max

    def _weigh(self, log_w: Tensor, sequence: Tensor, num_sequences: int) -> Tensor:
        if self.action == "off":
            return torch.ones_like(log_w)
        unit = self._unit(log_w, sequence, num_sequences)
        if self.action == "truncate":
            return unit.clamp(max=self.high)
        inside = (unit >= self.low) & (unit <= self.high)
        return torch.where(inside, unit if self.action == "mask" else log_w.exp(), torch.zeros_like(log_w))

    def _unit(self, log_w: Tensor, sequence: Tensor, num_sequences: int) -> Tensor:
        if self.unit == "token":
            return log_w.exp()
        if self.unit == "sequence_geometric":
            return sequence_means(log_w, sequence, num_sequences).exp()[sequence]
        values = log_w.exp() if self.unit == "sequence_mean" else log_w.abs().exp()
        return sequence_means(values, sequence, num_sequences)[sequence]


@dataclass(slots=True)
class Mismatch:
    """Sums over tokens; `add` as batches come, read the means at the end."""

    num_tokens: int = 0
    num_masked: int = 0
    mult_sum: float = 0.0
    kl_sum: float = 0.0
    weight_sum: float = 0.0
    abs_max: float = 0.0

    def add(self, train_logprobs: Tensor, gen_logprobs: Tensor, weights: Tensor) -> None:
        """Count tokens [M]: trainer's and sampler's log-probabilities, and the weights they were given."""
        if train_logprobs.numel() == 0:
            return
        log_ratio = train_logprobs.detach().double() - gen_logprobs.double()
        self.num_tokens += log_ratio.numel()
        self.num_masked += int((weights == 0).sum())
        self.mult_sum += float(log_ratio.abs().exp().sum())
        self.kl_sum += float((torch.expm1(log_ratio) - log_ratio).sum())
        self.weight_sum += float(weights.double().sum())
        worst = float(log_ratio.abs().max())
        self.abs_max = math.nan if math.isnan(worst) else max(self.abs_max, worst)

    def merge(self, other: Mismatch) -> None:
        """Take another's tokens in."""
        self.num_tokens += other.num_tokens
        self.num_masked += other.num_masked
        self.mult_sum += other.mult_sum
        self.kl_sum += other.kl_sum
        self.weight_sum += other.weight_sum
        worst = (self.abs_max, other.abs_max)
        self.abs_max = math.nan if any(map(math.isnan, worst)) else max(worst)

    @property
    def token_mult_prob_error(self) -> float:
        return self.mult_sum / self.num_tokens if self.num_tokens else 1.0

    @property
    def gen_kl_error(self) -> float:
        return self.kl_sum / self.num_tokens if self.num_tokens else 0.0

    def check(self, gate: float) -> None:
        """Raises MismatchExceeded when the mean is past `gate`, or is not a number at all."""
        error = self.token_mult_prob_error
        if not error <= gate:
            raise MismatchExceeded(
                f"token_mult_prob_error is {error:.6g}, the gate is {gate:.6g} "
                f"({self.num_masked} of {self.num_tokens} tokens masked, largest difference {self.abs_max:.4g})",
                stage="mismatch",
                server="trainer",
                field="grpo.mismatch_gate",
                hint="the served weights, temperature or numerics differ from the learner's; check the canary first",
            )
