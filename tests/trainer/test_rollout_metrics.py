import pytest

from gym_core.contracts import Outcome, Usage
from trainer.played import PlayedGroup
from trainer.rollout_metrics import rollout_metrics


def test_numbers_by_hand(group, member) -> None:
    truncated = member(0.0, Outcome.TRUNCATED, 1, usage=Usage(tool_calls=3, tool_errors=1))
    groups = [
        group([1.0, 1.0], "a", "maths"),
        group([1.0, None, 0.0], "b", "json"),
        PlayedGroup("g-c", "c", "json", [member(0.5), truncated]),
    ]
    values = rollout_metrics(groups, version=3, num_asked=9)
    assert values["reward"] == pytest.approx(3.5 / 6)
    assert values["reward/maths"] == 1.0
    assert values["reward/json"] == pytest.approx(1.5 / 4)
    assert values["frac_reward_zero_std"] == pytest.approx(1 / 3)
    assert values["outcome/env_error"] == 1
    assert values["outcome/scored"] == 5
    assert values["completions/clipped_ratio"] == pytest.approx(1 / 6)
    assert values["completions/mean_length"] == 2.0
    assert values["sampled_tokens"] == 12
    assert values["total_tokens"] == 30
    assert (values["tool_calls"], values["tool_errors"]) == (3, 1)
    assert values["policy_lag_max"] == 2
    assert values["rollouts/lost"] == 2


def test_an_environment_where_all_failed_has_no_mean(group) -> None:
    values = rollout_metrics([group([None, None])], version=1, num_asked=2)
    assert "reward" not in values and "reward/maths" not in values
    assert values["outcome/env_error"] == 2
