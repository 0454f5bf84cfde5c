import math

import pytest

from trainer.evaluate import by_environment, evaluate, profiles, summarise


def test_scores_by_hand(group) -> None:
    # maths: tasks score 1 and (1 + 0) / 2; mean 3/4, deviation sqrt(2 * (1/4)^2 / 1), over sqrt(2)
    result = summarise(
        [group([1.0], "a"), group([1.0, 0.0], "b"), group([0.0, None], "c", "json"), group([None], "d", "json")]
    )
    maths, json = result.environments["maths"], result.environments["json"]
    assert (maths.mean, maths.num_tasks, maths.num_failed) == (0.75, 2, 0)
    assert maths.standard_error == pytest.approx(math.sqrt(2 / 16) / math.sqrt(2))
    assert (json.mean, json.num_tasks, json.num_failed) == (0.0, 1, 2)
    assert json.outcomes == {"env_error": 2, "scored": 1}
    assert math.isnan(json.standard_error), "one task says nothing of its spread"
    assert result.mean == 0.375
    assert result.metrics() == {"val/reward": 0.375, "val/reward/maths": 0.75, "val/reward/json": 0.0}


def test_an_environment_without_a_score_is_in_no_mean(group) -> None:
    result = summarise([group([1.0], "a"), group([None], "b", "json")])
    assert result.mean == 1.0
    assert math.isnan(result.environments["json"].mean)
    assert result.environments["json"].num_failed == 1


def test_profiles_count_tries_that_were_scored(group) -> None:
    found = profiles([group([1.0, None, 0.0, 2.0], "a"), group([None], "b")], "warm")
    assert [(p.task_id, p.passes, p.count, p.checkpoint) for p in found] == [("a", 2.0, 3, "warm")]


async def test_evaluation_is_the_same_draw_at_every_step(group) -> None:
    asked = []

    class FakeAgents:
        async def run(self, rows, **options):
            asked.append((rows, options))
            return [group([1.0])]

    rows = by_environment({"maths": [{"task_id": "a"}], "json": [{"task_id": "b"}]})
    for step in (0, 60):
        assert (await evaluate(FakeAgents(), rows, step=step, sampling=None)).mean == 1.0  # type: ignore[arg-type]
    assert [options["seed_step"] for _, options in asked] == [0, 0]
    assert [options["step"] for _, options in asked] == [0, 60], "ids differ, so nothing is taken from the store"
    assert asked[0][0] == [{"task_id": "a"}, {"task_id": "b"}]
