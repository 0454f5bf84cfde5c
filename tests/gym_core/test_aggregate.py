"""Aggregation of scored rollouts, by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gym_core.aggregate import aggregate


def rollout(task: int, repeat: int, reward: float | None, **fields: Any) -> dict[str, Any]:
    return {"_ng_task_index": task, "_ng_rollout_index": repeat, "reward": reward, **fields}


def test_means_and_spreads_of_every_number_overall_per_task_and_per_repeat() -> None:
    said = aggregate([
        rollout(0, 0, 1.0, right=True, response={"usage": {"output_tokens": 10}}, name="x"),
        rollout(0, 1, 0.0, right=False, response={"usage": {"output_tokens": 30}}),
        rollout(1, 0, 0.5, extra=4),
    ])  # fmt: skip
    overall = said["agent_metrics"]
    assert overall["mean/reward"] == 0.5 and overall["median/reward"] == 0.5
    assert overall["std/reward"] == 0.5, "sample deviation of 1, 0, 0.5: sqrt((0.25 + 0.25 + 0) / 2)"
    assert (overall["mean/right"], overall["mean/output_tokens"], overall["max/extra"]) == (0.5, 20.0, 4.0)
    assert overall["num_repeats"] == 2 and "mean/name" not in overall and "mean/_ng_task_index" not in overall
    first, second = said["group_level_metrics"]
    assert (first["_ng_task_index"], first["mean/reward"], first["num_rollouts"]) == (0, 0.5, 2)
    assert (second["mean/reward"], second["std/reward"]) == (0.5, 0.0), "one rollout has no spread"
    assert first["rollout_infos"][1] == {"rollout_id": "0:1", "_ng_rollout_index": 1, "reward": 0.0}
    repeats = said["repeat_level_metrics"]
    assert [(one["sample_count"], one["missing_count"], one["mean/reward"]) for one in repeats] == [
        (2, 0, 0.75), (1, 1, 0.0),
    ]  # fmt: skip
    assert said["key_metrics"] == {name: value for name, value in overall.items() if name.startswith("mean/")}


def test_pass_at_k_is_the_unbiased_one_and_in_percent() -> None:
    rewards = {0: [1, 0, 0, 0], 1: [1, 1, 0, 0], 2: [0, 0, 0, 0]}
    said = aggregate([rollout(task, n, one) for task, row in rewards.items() for n, one in enumerate(row)])
    found = said["agent_metrics"]
    assert found["pass@1/accuracy"] == pytest.approx(100 * (1 / 4 + 2 / 4 + 0) / 3)
    assert found["pass@2/accuracy"] == pytest.approx(100 * ((1 - 3 / 6) + (1 - 1 / 6) + 0) / 3)
    assert found["pass@4/accuracy"] == pytest.approx(100 * 2 / 3)
    assert found["pass@1[avg-of-4]/accuracy"] == pytest.approx(25.0)
    assert "pass@1/accuracy" not in aggregate([rollout(0, 0, 0.5)])["agent_metrics"], "not for graded rewards"


def test_what_was_not_measured_is_counted_and_averaged_nowhere() -> None:
    said = aggregate([
        rollout(0, 0, 1.0), rollout(0, 1, 0.0, mask_sample=True), rollout(1, 0, None), rollout(1, 1, math.nan),
    ])  # fmt: skip
    assert said["key_metrics"]["mean/reward"] == 1.0
    assert (
        said["key_metrics"]["coverage/measured_rollouts"] == 1 and said["key_metrics"]["coverage/masked_rollouts"] == 3
    )
    assert (said["agent_metrics"]["coverage/measured_tasks"], said["agent_metrics"]["coverage/total_tasks"]) == (1, 2)
    nothing = aggregate([rollout(0, 0, 0.0, mask_sample=True)])
    assert "mean/reward" not in nothing["agent_metrics"] and nothing["group_level_metrics"] == []
    assert aggregate([]) == {
        "group_level_metrics": [], "agent_metrics": {}, "key_metrics": {}, "repeat_level_metrics": [],
    }  # fmt: skip


JSON = st.sampled_from(
    [None, True, 0, 1, -3, 0.5, 1e308, -1e308, math.inf, math.nan, "x", [1], {"usage": {"a": 2}}, {}]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.fixed_dictionaries({}, optional={
    "_ng_task_index": JSON, "_ng_rollout_index": JSON, "reward": JSON, "response": JSON, "mask_sample": JSON, "x": JSON,
}), max_size=5))  # fmt: skip
def test_whatever_is_sent_gives_numbers(rollouts: list[dict[str, Any]]) -> None:
    said = aggregate(rollouts)
    assert all(math.isfinite(value) for value in said["agent_metrics"].values())
    assert sum(group["num_rollouts"] for group in said["group_level_metrics"]) <= len(rollouts)
