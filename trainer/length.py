"""Group relative length control: among siblings, shorter thinking and shorter answers earn a little more.

For each group, over think and answer spans apart, ℓ in tokens (Nemotron 3 Nano, eqs. 4-6):

    w_i  = 1 - (ℓ_i - ℓ_min) / (ℓ_max - ℓ_min)      0 for all where ℓ_max = ℓ_min
    w̃_i  = w_i - mean(w)
    R_i  = R_base,i + λ_think w̃_i^think + λ_answer w̃_i^answer

and a bonus β for the shortest one, if its own reward is among the best of the group: "among the best" means at least
the reward at place ⌊n · top_share⌋ from above (the first where that is 0). A span nobody wrote has no shortest.

Shaping rewards may turn the sign of an advantage: a good but long answer ends below the mean. The `sign_safe` form
pays only members above the mean, for what they are shorter than the mean of those, and all payments of a group are
scaled down together until none of them falls to the mean:

    b_i  = λ · max(0, 1 - ℓ_i / mean_{R_j > mean(R)} ℓ_j)    where R_i > mean(R), else 0
    R_i  = R_base,i + s b_i    with the largest s ≤ 1 that keeps every R_i above the new mean which was above the old
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from trainer.config import LengthRecipe
from trainer.played import Played

SPANS = ("think", "answer")
MARGIN = 0.99
"""How near the sign-safe form may bring a member to the mean: this share of the way."""

ROUNDING = 1e-12
"""A reward that is nearer to the mean than this share of the largest is at the mean: 0.2 among 0.1, 0.2 and 0.3 is."""


@dataclass(slots=True, frozen=True)
class Member:
    """One rollout with a reward: tokens it spent in each of `SPANS`."""

    reward: float
    lengths: tuple[int, int]


def span_lengths(played: Played) -> tuple[int, int]:
    """Tokens of a rollout in think and in answer spans, over all its traces."""
    think, answer = (sum(trace.span_tokens(kind) for trace in played.traces) for kind in SPANS)
    return think, answer


def shaped_rewards(members: Sequence[Member], recipe: LengthRecipe) -> list[float]:
    """Rewards of one group's members, in order. Fewer than two have nothing to be compared with."""
    if len(members) < 2:
        return [member.reward for member in members]
    return _sign_safe(members, recipe) if recipe.sign_safe else _published(members, recipe)


def centred_weights(lengths: Sequence[int]) -> list[float]:
    """w̃ of eq. 5: in [-1, 1], summing to 0, higher for shorter."""
    low, high = min(lengths), max(lengths)
    if low == high:
        return [0.0] * len(lengths)
    weights = [1.0 - (length - low) / (high - low) for length in lengths]
    mean = math.fsum(weights) / len(weights)
    return [weight - mean for weight in weights]


def sign_flips(before: Sequence[float], after: Sequence[float]) -> int:
    """Members on one side of their group's mean before and on the other after."""
    if len(before) < 2:
        return 0
    return sum(a * b < 0 for a, b in zip(_ahead(before), _ahead(after), strict=True))


def _ahead(rewards: Sequence[float]) -> list[float]:
    """By how much each is over the mean; 0 for one that only rounding has put beside it."""
    mean, rounding = math.fsum(rewards) / len(rewards), ROUNDING * max(map(abs, rewards))
    return [reward - mean if abs(reward - mean) > rounding else 0.0 for reward in rewards]


def _published(members: Sequence[Member], recipe: LengthRecipe) -> list[float]:
    rewards = [member.reward for member in members]
    base = list(rewards)
    coefficients = ((recipe.think, recipe.think_bonus), (recipe.answer, recipe.answer_bonus))
    for span, (coefficient, bonus) in enumerate(coefficients):
        lengths = [member.lengths[span] for member in members]
        for i, weight in enumerate(centred_weights(lengths)):
            rewards[i] += coefficient * weight
        winner = _shortest_of_the_best(base, lengths, recipe.top_share) if bonus else None
        if winner is not None:
            rewards[winner] += bonus
    return rewards


def _shortest_of_the_best(base: Sequence[float], lengths: Sequence[int], top_share: float) -> int | None:
    """Who gets the bonus: the shortest that wrote anything, the better one of equals, if good enough."""
    wrote = [i for i, length in enumerate(lengths) if length > 0]
    if not wrote:
        return None
    shortest = min(wrote, key=lambda i: (lengths[i], -base[i], i))
    threshold = sorted(base, reverse=True)[max(int(len(base) * top_share) - 1, 0)]
    return shortest if base[shortest] >= threshold else None


def _sign_safe(members: Sequence[Member], recipe: LengthRecipe) -> list[float]:
    rewards = [member.reward for member in members]
    ahead = _ahead(rewards)
    good = [i for i, by in enumerate(ahead) if by > 0]
    bonus = [0.0] * len(members)
    for span, coefficient in enumerate((recipe.think, recipe.answer)):
        typical = math.fsum(members[i].lengths[span] for i in good) / max(len(good), 1)
        if typical > 0:
            for i in good:
                bonus[i] += coefficient * max(0.0, 1.0 - members[i].lengths[span] / typical)
    average = math.fsum(bonus) / len(bonus)
    limits = [MARGIN * ahead[i] / (average - bonus[i]) for i in good if bonus[i] < average]
    scale = min([1.0, *limits])
    return [reward + scale * extra for reward, extra in zip(rewards, bonus, strict=True)]
