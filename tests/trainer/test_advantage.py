import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gym_core.contracts import Outcome
from trainer.advantage import group_advantages, trainable_reward

REWARDS = st.lists(st.none() | st.floats(-10, 10).map(lambda r: round(r, 3)), max_size=20)


def test_one_success_in_four() -> None:
    # mean 1/4; deviations 3/4, -1/4 x3; variance (9/16 + 3/16) / 3 = 1/4; std 1/2
    assert group_advantages([1.0, 0.0, 0.0, 0.0]) == pytest.approx([1.5, -0.5, -0.5, -0.5], rel=1e-5)


def test_one_success_in_sixteen_is_worth_what_the_recipe_facts_say() -> None:
    assert group_advantages([1.0] + [0.0] * 15)[:2] == pytest.approx([3.75, -0.25], rel=1e-5)


def test_without_scale_it_is_the_deviation() -> None:
    assert group_advantages([2.0, 0.0, 1.0], "none") == [1.0, -1.0, 0.0]


def test_equal_rewards_teach_nothing() -> None:
    assert group_advantages([0.7, 0.7, 0.7]) == [0.0, 0.0, 0.0]
    assert group_advantages([1.0]) == [0.0]
    assert group_advantages([]) == []


def test_a_failure_is_not_a_zero() -> None:
    with_failure = group_advantages([1.0, None, 0.0])
    assert with_failure[1] is None
    assert [with_failure[0], with_failure[2]] == group_advantages([1.0, 0.0])
    assert with_failure[0] != group_advantages([1.0, 0.0, 0.0])[0]


def test_a_lone_survivor_has_nothing_to_compare_with() -> None:
    assert group_advantages([None, 1.0, None]) == [None, 0.0, None]


@pytest.mark.parametrize("outcome", list(Outcome))
def test_only_scored_and_truncated_have_a_reward(member, outcome: Outcome) -> None:
    reward = trainable_reward(member(1.0, outcome).rollout)
    assert reward == (1.0 if outcome in (Outcome.SCORED, Outcome.TRUNCATED) else None)


@pytest.mark.parametrize(
    ("successes", "good", "bad"),
    [(1, 1.0, -0.258199), (2, 3.614784, -0.378768), (8, 1.032796, -1.032796), (15, 0.258199, -1.0)],
)
def test_the_published_leave_one_out_as_it_is_published(successes: int, good: float, bad: float) -> None:
    rewards = [1.0] * successes + [0.0] * (16 - successes)
    advantages = group_advantages(rewards, "published_leave_one_out", "leave_one_out")
    assert [advantages[0], advantages[-1]] == pytest.approx([good, bad], abs=2e-4)


def published(rewards: list[float]) -> torch.Tensor:
    """The published normalisation, one rollout after the other, in fp32: its own words for its own numbers."""
    found = []
    for i, own in enumerate(rewards):
        others = torch.tensor([*rewards[:i], *rewards[i + 1 :]])
        count = torch.tensor(float(len(others)))
        mean, square = others.sum() / count, others.square().sum() / count
        spread = ((square - mean.square()) * (count / (count - 1))).sqrt().nan_to_num(0)
        ahead = torch.tensor(own) - mean
        found.append(ahead / (spread + 1e-6) if spread > 0 else ahead)
    return torch.stack(found)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0, 2.0]), min_size=2, max_size=16))
def test_the_published_leave_one_out_to_the_bit(rewards: list[float]) -> None:
    """Sums of these rewards are exact in fp32, so their order plays no part."""
    advantages = group_advantages(rewards, "published_leave_one_out", "leave_one_out")
    expected = published(rewards) if len(set(rewards)) > 1 else torch.zeros(len(rewards))
    assert torch.equal(torch.tensor(advantages, dtype=torch.float32), expected)


def test_leave_one_out_by_hand() -> None:
    # 3 - (1 + 2) / 2, 1 - (3 + 2) / 2, 2 - (3 + 1) / 2
    assert group_advantages([3.0, 1.0, 2.0], "none", "leave_one_out") == pytest.approx([1.5, -1.5, 0.0])


def test_rounding_makes_no_spread_of_equal_siblings() -> None:
    advantages = group_advantages([0.1] * 7 + [0.9], "published_leave_one_out", "leave_one_out")
    assert advantages[-1] == pytest.approx(0.8), "the others are equal: not divided"


@given(REWARDS, st.sampled_from(["std", "none"]), st.sampled_from(["group", "leave_one_out"]))
def test_zero_sum_monotone_and_failures_kept(rewards: list[float | None], scale: str, baseline: str) -> None:
    advantages = group_advantages(rewards, scale, baseline)  # type: ignore[arg-type]
    assert [a is None for a in advantages] == [r is None for r in rewards]
    known = [(r, a) for r, a in zip(rewards, advantages, strict=True) if r is not None and a is not None]
    assert math.fsum(a for _, a in known) == pytest.approx(0.0, abs=1e-6)
    for r1, a1 in known:
        for r2, a2 in known:
            assert (r1 > r2) == (a1 > a2) or a1 == pytest.approx(a2, abs=1e-9)
