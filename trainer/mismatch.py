"""How far the sampler's log-probabilities are from the trainer's, on the same tokens and the same weights.

    token_mult_prob_error = mean exp|log π_gen - log π_train|     1 when they agree; NeMo RL's name and gate
    gen_kl_error          = mean (ρ - 1 - log ρ), ρ = π_train / π_gen   the k3 estimate of KL(gen ‖ train)

Both are sums over tokens divided once. Tokens whose importance weight leaves [low, high] are masked (IcePop, arXiv
2510.18855: a weight in bounds is used as it is, one outside becomes 0); a mean past the gate refuses the whole step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gym_core.errors import PalaestraError


class MismatchExceeded(PalaestraError):
    """Sampler and trainer disagree past the gate: nothing was trained in this step."""

    code: ClassVar[str] = "mismatch_exceeded"


def importance_weights(old_logprobs: Tensor, gen_logprobs: Tensor, low: float, high: float) -> Tensor:
    """w = exp(old - gen) [M], 0 where outside [low, high] or not finite; never a gradient."""
    weights = torch.exp(old_logprobs.detach() - gen_logprobs)
    return torch.where((weights >= low) & (weights <= high), weights, torch.zeros_like(weights))


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
