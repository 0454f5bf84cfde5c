"""The seam between verdicts and advantages: groups in, one reward per rollout out.

A shaper sees whole groups with their traces, so a new rule is one more function here. Where a rollout may not be
trained on the reward is None, and stays so.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gym_core.seeds import rng
from trainer.advantage import trainable_reward
from trainer.config import LengthRecipe, Recipe
from trainer.length import Member, shaped_rewards, sign_flips, span_lengths
from trainer.played import PlayedGroup

Rewards = list[list[float | None]]


@dataclass(slots=True)
class Shaped:
    """Rewards by group and member, and what the shaping did in numbers."""

    rewards: Rewards
    metrics: dict[str, float] = field(default_factory=dict)


Shaper = Callable[[Sequence[PlayedGroup], int], Shaped]


def verdicts(groups: Sequence[PlayedGroup]) -> Rewards:
    """The verdicts' rewards as they are."""
    return [[trainable_reward(member.rollout) for member in group.members] for group in groups]


def identity(groups: Sequence[PlayedGroup], step: int) -> Shaped:
    """No shaping."""
    return Shaped(verdicts(groups))


def shuffled(seed: int) -> Shaper:
    """The control arm: the batch's rewards permuted across all its rollouts, so that they say nothing.

    The multiset of rewards, the failures and everything downstream stay as they are.
    """

    def shape(groups: Sequence[PlayedGroup], step: int) -> Shaped:
        rewards = verdicts(groups)
        known = [reward for group in rewards for reward in group if reward is not None]
        rng(seed, "shuffled", step).shuffle(known)
        pool = iter(known)
        return Shaped([[None if reward is None else next(pool) for reward in group] for group in rewards])

    return shape


def length_control(recipe: LengthRecipe) -> Shaper:
    """Group relative length control; `grlc/*` metrics say how long spans were and what the shaping moved."""

    def shape(groups: Sequence[PlayedGroup], step: int) -> Shaped:
        rewards: Rewards = []
        flips, base, added, lengths = 0, [], [], []
        for group in groups:
            known = [(m, r) for m in group.members if (r := trainable_reward(m.rollout)) is not None]
            members = [Member(reward, span_lengths(played)) for played, reward in known]
            after = shaped_rewards(members, recipe)
            before = [member.reward for member in members]
            flips += sign_flips(before, after)
            base += before
            added += [new - old for new, old in zip(after, before, strict=True)]
            lengths += [member.lengths for member in members]
            values = iter(after)
            rewards.append([None if trainable_reward(m.rollout) is None else next(values) for m in group.members])
        return Shaped(rewards, _length_metrics(flips, base, added, lengths))

    return shape


def shaper(recipe: Recipe) -> Shaper:
    """The shaper of a recipe: its arm's, then its length control."""
    if recipe.arm == "shuffled":
        return shuffled(recipe.seed)
    length = recipe.length
    controls = length.think or length.answer or length.think_bonus or length.answer_bonus
    return length_control(length) if controls else identity


def _length_metrics(
    flips: int, base: list[float], added: list[float], lengths: list[tuple[int, int]]
) -> dict[str, float]:
    if not base:
        return {}
    total = statistics.pvariance([a + b for a, b in zip(base, added, strict=True)])
    return {
        "grlc/sign_flip_frac": flips / len(base),
        "grlc/length_reward_var_share": statistics.pvariance(added) / total if total > 0 else 0.0,
        "grlc/think_tokens": statistics.fmean(think for think, _ in lengths),
        "grlc/answer_tokens": statistics.fmean(answer for _, answer in lengths),
    }
