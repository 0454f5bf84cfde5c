import itertools
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.evaluate import Evaluation, by_environment, evaluate, interval, pass_at_k, profiles, summarise


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
    told = result.metrics()
    rewards = {"val/reward": 0.375, "val/reward/maths": 0.75, "val/reward/json": 0.0}
    assert {name: told[name] for name in rewards} == rewards
    # of two tasks one was tried once and solved, one twice and solved once: pass@1 (1 + 1/2) / 2, pass@2 of one task
    assert (told["val/pass@1/maths"], told["val/pass@2/maths"]) == (0.75, 1.0)
    assert (told["val/pass@2/maths/low"], told["val/pass@2/maths/high"]) == (0.0, 1.0)
    assert "val/pass@1/json" not in told, "nothing of it was tried twice"


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


@pytest.mark.parametrize(
    ("tries", "solved", "k", "expected"),
    [(4, 0, 2, 0.0), (4, 1, 1, 0.25), (4, 1, 2, 0.5), (4, 2, 2, 5 / 6), (4, 3, 2, 1.0), (10, 5, 3, 11 / 12)],
)
def test_pass_at_k_by_hand(tries: int, solved: int, k: int, expected: float) -> None:
    """Of 10 tries with 5 solved, 3 hold none with chance C(5, 3) / C(10, 3) = 10 / 120."""
    assert pass_at_k(tries, solved, k) == pytest.approx(expected)


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_draws_that_hold_one(tries: int, data: st.DataObject) -> None:
    solved, k = data.draw(st.integers(0, tries)), data.draw(st.integers(1, tries))
    draws = list(itertools.combinations(range(tries), k))
    assert pass_at_k(tries, solved, k) == pytest.approx(sum(min(draw) < solved for draw in draws) / len(draws))


@pytest.mark.parametrize(("tries", "solved", "k"), [(3, 1, 4), (3, 4, 2), (3, 1, 0)])
def test_pass_at_k_needs_enough_tries(tries: int, solved: int, k: int) -> None:
    with pytest.raises(ValueError, match="tries or more"):
        pass_at_k(tries, solved, k)


@pytest.mark.parametrize(
    ("shares", "low", "high"),
    [
        ([1.0] * 64, 64 / (64 + 1.96**2), 1.0),
        ([0.0] * 10, 0.0, 1.96**2 / (10 + 1.96**2)),
        ([1.0] * 50 + [0.0] * 50, 0.40383, 0.59617),  # Wilson's of 50 in 100
        ([1.0], 0.0, 1.0),
    ],
)
def test_an_interval_by_hand(group, shares: list[float], low: float, high: float) -> None:
    groups = [group([share, share], f"t{number}") for number, share in enumerate(shares)]
    found = summarise(groups).environments["maths"].pass_at[1]
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-4)


@given(st.lists(st.sampled_from([0.0, 0.25, 1 / 3, 0.5, 1.0]), min_size=2, max_size=40))
def test_an_interval_holds_its_mean_and_is_never_a_point(shares: list[float]) -> None:
    mean = math.fsum(shares) / len(shares)
    error = math.sqrt(math.fsum((s - mean) ** 2 for s in shares) / (len(shares) - 1) / len(shares))
    low, high = interval(mean, error, len(shares))
    assert 0.0 <= low <= mean + 1e-12 and mean - 1e-12 <= high <= 1.0 and high - low > 0.01


def test_an_evaluation_comes_back_from_its_record(group) -> None:
    result = summarise([group([1.0, 0.0], "a"), group([0.0, 1.0], "b"), group([0.0, 0.0], "c")])
    assert msgspec.json.decode(msgspec.json.encode(result), type=Evaluation) == result
