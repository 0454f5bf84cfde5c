"""Group-relative advantages: how much better a rollout was than its siblings of the same task.

    A_i = R_i - mean(R)                      scale "none"   (Dr. GRPO, arXiv 2503.20783)
    A_i = (R_i - mean(R)) / (std(R) + 1e-6)  scale "std"    (GRPO, arXiv 2402.03300, eq. 4.1.1), std with n - 1

Both sum to zero over the group and order rollouts as their rewards do. A group whose rewards are all equal teaches
nothing and gives zeros. A rollout without a trainable outcome has no reward (None), takes no part in the baseline
and gets no advantage (None): an infrastructure failure is never a reward of zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from gym_core.contracts import Rollout

EPSILON = 1e-6
Scale = Literal["std", "none"]


def trainable_reward(rollout: Rollout) -> float | None:
    """The reward that may reach an advantage, or None."""
    return rollout.reward if rollout.outcome.trainable else None


def group_advantages(rewards: Sequence[float | None], scale: Scale = "std") -> list[float | None]:
    """Advantages of one group, in its order; None stays None. Equal rewards, or fewer than two, give zeros."""
    known = [reward for reward in rewards if reward is not None]
    if len(known) < 2 or max(known) == min(known):
        return [None if reward is None else 0.0 for reward in rewards]
    mean = math.fsum(known) / len(known)
    spread = 1.0
    if scale == "std":
        spread = math.sqrt(math.fsum((reward - mean) ** 2 for reward in known) / (len(known) - 1)) + EPSILON
    return [None if reward is None else (reward - mean) / spread for reward in rewards]
