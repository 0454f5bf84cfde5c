"""The seam between verdicts and advantages: groups in, one reward per rollout out.

A shaper sees whole groups with their traces (length control needs think and answer spans), so a new rule is one more
function here. Where a rollout may not be trained on the reward is None, and stays so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gym_core.seeds import rng
from trainer.advantage import trainable_reward
from trainer.played import PlayedGroup

Rewards = list[list[float | None]]
Shaper = Callable[[Sequence[PlayedGroup], int], Rewards]


def identity(groups: Sequence[PlayedGroup], step: int) -> Rewards:
    """The verdicts' rewards as they are."""
    return [[trainable_reward(member.rollout) for member in group.members] for group in groups]


def shuffled(seed: int) -> Shaper:
    """The control arm: the batch's rewards permuted across all its rollouts, so that they say nothing.

    The multiset of rewards, the failures and everything downstream stay as they are.
    """

    def shape(groups: Sequence[PlayedGroup], step: int) -> Rewards:
        rewards = identity(groups, step)
        known = [reward for group in rewards for reward in group if reward is not None]
        rng(seed, "shuffled", step).shuffle(known)
        pool = iter(known)
        return [[None if reward is None else next(pool) for reward in group] for group in rewards]

    return shape


def shaper(arm: str, seed: int) -> Shaper:
    """The shaper of a recipe's arm."""
    return shuffled(seed) if arm == "shuffled" else identity
