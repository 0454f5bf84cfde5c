import math
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_core.contracts import TaskProfile
from gym_core.errors import BadRequest
from trainer.curriculum import Curriculum, quotas


def rows(environment: str, count: int) -> list[dict]:
    return [{"environment": environment, "task_id": f"{environment}-{i}"} for i in range(count)]


def build(counts: dict[str, int] | None = None, prompts: int = 6, **options) -> Curriculum:
    counts = counts or {"maths": 20, "json": 20}
    options = {"steps": 11, "seed": 0, "weights": dict.fromkeys(counts, 1.0), **options}
    weights = options.pop("weights")
    return Curriculum({n: rows(n, c) for n, c in counts.items()}, weights, prompts_per_step=prompts, **options)


def graded(curriculum: Curriculum, environment: str, tries: int = 100) -> None:
    """Profile every task; task i of n passes i/n of the time."""
    tasks = list(curriculum.pools[environment].rows)
    curriculum.profile(
        TaskProfile(environment=environment, task_id=t, checkpoint="c", passes=tries * i / len(tasks), count=tries)
        for i, t in enumerate(tasks)
    )


def test_largest_remainder_by_hand() -> None:
    # 10 in 5 : 3 : 1 -> 5.56, 3.33, 1.11 -> 5, 3, 1 and the one left goes to the largest remainder
    assert quotas({"a": 5, "b": 3, "c": 1}, 10) == {"a": 6, "b": 3, "c": 1}
    assert quotas({"a": 1, "b": 1, "c": 1}, 20) == {"a": 7, "b": 7, "c": 6}


@given(st.dictionaries(st.text(min_size=1), st.floats(0.01, 100), min_size=1, max_size=6), st.integers(1, 200))
def test_quotas_add_up_and_are_within_one(weights: dict[str, float], total: int) -> None:
    shares = quotas(weights, total)
    assert sum(shares.values()) == total
    for name, weight in weights.items():
        assert abs(shares[name] - total * weight / sum(weights.values())) < 1 + 1e-9


def test_every_step_has_the_same_shares() -> None:
    curriculum = build({"maths": 30, "json": 30}, 8, weights={"maths": 3.0, "json": 1.0})
    for step in range(11):
        drawn = Counter(row["environment"] for row in curriculum.draw(step))
        assert drawn == {"maths": 6, "json": 2}


def test_the_mean_falls_linearly() -> None:
    curriculum = build(start=0.7, end=0.3)
    assert [curriculum.mean(step) for step in (0, 5, 10, 99)] == pytest.approx([0.7, 0.5, 0.3, 0.3])
    assert build(steps=1).mean(0) == 0.6


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 1000))
def test_without_replacement_within_an_epoch(pool: int, quota: int, seed: int) -> None:
    quota = min(quota, pool)
    curriculum = build({"maths": pool}, quota, seed=seed)
    drawn: list[str] = []
    for step in range(2 * pool):
        ids = [row["task_id"] for row in curriculum.draw(step)]
        assert len(set(ids)) == quota, "no task twice in one step"
        drawn += ids
    counts = Counter(drawn[: pool // quota * quota])
    assert set(counts.values()) <= {1}, "no task twice in one epoch"
    assert max(Counter(drawn).values()) - min(Counter(drawn).values()) <= 2


def test_draws_follow_the_gaussian_not_the_pool() -> None:
    # the pool is bottom-heavy (most tasks hard), the target is 0.6 +- 0.1
    curriculum = build({"maths": 400}, 10, start=0.6, end=0.6, sigma=0.1)
    tasks = list(curriculum.pools["maths"].rows)
    curriculum.profile(
        TaskProfile(environment="maths", task_id=t, checkpoint="c", passes=1000 * (i / 400) ** 3, count=1000)
        for i, t in enumerate(tasks)
    )
    rates = []
    for step in range(4):
        rates += [curriculum.pools["maths"].pass_rate(row["task_id"]) for row in curriculum.draw(step)]
        assert curriculum.last_metrics["curriculum/target_mean"] == 0.6
        assert abs(curriculum.last_metrics["curriculum/achieved_mean"] - 0.6) < 0.12
        assert curriculum.last_metrics["curriculum/histogram_kl"] < 1.0
    assert sum(0.4 <= rate <= 0.8 for rate in rates) >= 0.85 * len(rates)


def test_a_rate_that_many_tasks_share_is_not_drawn_more_often() -> None:
    # 90 % of the tasks pass at 0.45, 10 % at 0.65: equally far from the mean, so half of each is drawn
    drawn = 0
    for seed in range(20):
        curriculum = build({"maths": 300}, 10, start=0.55, end=0.55, sigma=0.1, seed=seed)
        curriculum.profile(
            TaskProfile(environment="maths", task_id=t, checkpoint="c", passes=650 if i % 10 == 0 else 450, count=1000)
            for i, t in enumerate(curriculum.pools["maths"].rows)
        )
        drawn += sum(curriculum.pools["maths"].pass_rate(row["task_id"]) > 0.6 for row in curriculum.draw(0))
    assert 0.4 < drawn / 200 < 0.6


def test_later_steps_are_harder() -> None:
    early, late = build({"maths": 200}, 20, start=0.8, end=0.2), build({"maths": 200}, 20, start=0.8, end=0.2)
    for curriculum in (early, late):
        graded(curriculum, "maths")
    early.draw(0)
    late.draw(10)
    first, last = (c.last_metrics["curriculum/achieved_mean"] for c in (early, late))
    assert first - last > 0.3


def test_profiling_drops_what_is_always_solved() -> None:
    curriculum = build({"maths": 10}, 4)
    solved = [TaskProfile(environment="maths", task_id=f"maths-{i}", checkpoint="c", passes=8, count=8) for i in (0, 3)]
    assert curriculum.profile(solved) == 2
    seen = {row["task_id"] for step in range(6) for row in curriculum.draw(step)}
    assert seen == {f"maths-{i}" for i in range(10)} - {"maths-0", "maths-3"}


def test_dropping_never_leaves_fewer_than_the_quota() -> None:
    curriculum = build({"maths": 5}, 4)
    all_solved = [
        TaskProfile(environment="maths", task_id=f"maths-{i}", checkpoint="c", passes=8, count=8) for i in range(5)
    ]
    assert curriculum.profile(all_solved) == 0
    assert len(curriculum.draw(0)) == 4


def test_live_update_by_hand() -> None:
    curriculum = build({"maths": 5}, 2)
    curriculum.update("maths", "maths-0", [1.0, 0.0, 0.0, 1.0], "1")
    profile = curriculum.pools["maths"].profiles["maths-0"]
    assert (profile.passes, profile.count, profile.pass_rate) == (2.0, 4, 0.5)
    curriculum.update("maths", "maths-0", [1.0, 1.0], "2")
    # four old tries shrink to the weight of two new ones: 1 of 2 old passes, 2 new
    profile = curriculum.pools["maths"].profiles["maths-0"]
    assert (profile.passes, profile.count, profile.checkpoint) == (3.0, 4, "2")


def test_an_update_without_rewards_teaches_nothing() -> None:
    curriculum = build({"maths": 5}, 2)
    curriculum.update("maths", "maths-0", [], "1")
    assert curriculum.pools["maths"].profiles["maths-0"].count == 0


def test_resume_draws_what_would_have_been_drawn() -> None:
    straight, first = build(), build()
    for curriculum in (straight, first):
        for step in range(4):
            for row in curriculum.draw(step):
                curriculum.update(row["environment"], row["task_id"], [1.0, 0.0], str(step))
    resumed = build()
    resumed.load_state_dict(first.state_dict())
    for step in range(4, 9):
        assert resumed.draw(step) == straight.draw(step)
    assert resumed.state_dict() == straight.state_dict()


def test_a_state_of_other_environments_is_refused() -> None:
    with pytest.raises(BadRequest, match="json"):
        build({"maths": 9}).load_state_dict(build().state_dict())


def test_a_pool_smaller_than_its_quota_is_refused() -> None:
    with pytest.raises(BadRequest, match="3 distinct") as caught:
        build({"maths": 3}, 4)
    assert caught.value.field == "environments.maths.tasks"


def test_random_order_does_not_look_at_pass_rates() -> None:
    """Every task of the pool comes once before any comes twice, and the mean pass rate of a batch does not fall."""
    curriculum = build({"maths": 400}, 10, start=0.9, end=0.1, sigma=0.05, order="random", steps=40)
    graded(curriculum, "maths")
    drawn = [[row["task_id"] for row in curriculum.draw(step)] for step in range(40)]
    assert len({task for batch in drawn for task in batch}) == 400
    early, late = (
        sum(curriculum.pools["maths"].pass_rate(t) for b in part for t in b) for part in (drawn[:20], drawn[20:])
    )
    assert early / 200 == pytest.approx(0.5, abs=0.06) and late / 200 == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("sigma", [0.001, 0.02, 1e6])
def test_a_gaussian_as_narrow_or_as_wide_as_may_be_draws_and_tells(sigma: float) -> None:
    """Bins that it leaves no share to in floating point are drawn from where nothing else is left."""
    pool = {"a": rows("a", 20)}
    curriculum = Curriculum(pool, {"a": 1.0}, prompts_per_step=5, steps=4, seed=0, start=0.0, end=1.0, sigma=sigma)
    tried = [TaskProfile(environment="a", task_id=f"a-{i}", checkpoint="c", passes=i % 9, count=8) for i in range(20)]
    curriculum.profile(tried)
    for step in range(4):
        assert len({row["task_id"] for row in curriculum.draw(step)}) == 5
        told = curriculum.last_metrics
        assert math.fsum(told[f"curriculum/target/{b / 10:.1f}"] for b in range(10)) == pytest.approx(1.0)
        assert math.isfinite(told["curriculum/histogram_kl"]) and told["curriculum/histogram_kl"] > -1e-9
