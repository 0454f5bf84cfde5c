"""Group-relative advantages: how much better a rollout was than its siblings of the same task.

    baseline "group"           d_i = R_i - mean(R)                     GRPO (arXiv 2402.03300, section 4.1.1)
    baseline "leave_one_out"   d_i = R_i - mean_{j≠i}(R_j)             RLOO (arXiv 2402.14740); n/(n-1) times the former

    scale "none"               A_i = d_i                               Dr. GRPO (arXiv 2503.20783)
    scale "std"                A_i = d_i / (std(R) + 1e-6)             std with n - 1
    scale "published_leave_one_out"   A_i = d_i / (std_{j≠i}(R_j) + 1e-6) where that spread is not 0, d_i where it is,
                               std_{j≠i}² = (mean_{j≠i}(R_j²) - mean_{j≠i}(R_j)²) (n-1)/(n-2): NeMo RL's normalisation,
                               in its fp32 and its order of operations, so to the bit; but that others of one
                               reward have a spread of exactly 0, where its rounding may make a spike of them

The first two scales sum to zero over the group and order rollouts as their rewards do. The published one does neither:
one success among 16 gets +1.00 and its siblings -0.26, two get +3.6 (each success is measured by the spread of the
others). It is here to reproduce published runs. A group whose rewards are all equal teaches nothing and gives zeros. A
rollout without a trainable outcome has no reward (None), takes no part in the baseline and gets no advantage (None):
an infrastructure failure is never a reward of zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch

from gym_core.contracts import Rollout

EPSILON = 1e-6
Baseline = Literal["group", "leave_one_out"]
Scale = Literal["std", "none", "published_leave_one_out"]


def trainable_reward(rollout: Rollout) -> float | None:
    """The reward that may reach an advantage, or None."""
    return rollout.reward if rollout.outcome.trainable else None


def group_advantages(
    rewards: Sequence[float | None], scale: Scale = "std", baseline: Baseline = "group"
) -> list[float | None]:
    """Advantages of one group, in its order; None stays None. Equal rewards, or fewer than two, give zeros."""
    known = [reward for reward in rewards if reward is not None]
    if len(known) < 2 or max(known) == min(known):
        return [None if reward is None else 0.0 for reward in rewards]
    values = iter(_advantages(known, scale, baseline))
    return [None if reward is None else next(values) for reward in rewards]


def _advantages(known: list[float], scale: Scale, baseline: Baseline) -> list[float]:
    if scale == "published_leave_one_out":
        return _published(known, baseline)
    n = len(known)
    mean = math.fsum(known) / n
    stretch = n / (n - 1) if baseline == "leave_one_out" else 1.0
    ahead = [stretch * (reward - mean) for reward in known]
    if scale == "none":
        return ahead
    spread = math.sqrt(math.fsum((reward - mean) ** 2 for reward in known) / (n - 1)) + EPSILON
    return [value / spread for value in ahead]


def _published(known: list[float], baseline: Baseline) -> list[float]:
    rewards, n = torch.tensor(known, dtype=torch.float32), len(known)
    siblings = 1 - torch.eye(n)
    mean = torch.matmul(siblings, rewards) / (n - 1)
    square = torch.matmul(siblings, rewards.square()) / (n - 1)
    variance = (square - mean.square()) * (torch.tensor(n - 1.0) / max(n - 2, 1))
    alike = torch.tensor([len(set(known[:i] + known[i + 1 :])) == 1 for i in range(n)])
    spread = torch.where(alike, 0.0, variance.clamp(min=0.0).sqrt())
    ahead = rewards - (mean if baseline == "leave_one_out" else rewards.mean())
    found: list[float] = torch.where(spread > 0, ahead / (spread + EPSILON), ahead).tolist()
    return found
