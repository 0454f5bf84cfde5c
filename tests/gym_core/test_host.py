"""Where a row becomes a task and a returned number becomes a verdict."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.contracts import Grading, Task, TaskRef, Verdict
from gym_core.environment import Environment, GroupEntry
from gym_core.errors import BadRow, EnvironmentFault
from gym_core.generate import make_task
from gym_core.host import CACHED_TASKS, Host, run_now
from gym_core.loading import load_file
from gym_core.reply import Reply

samples = load_file(Path(__file__).with_name("samples.py"))
PARAMS = {"responses_create_params": {"input": "q"}}


@given(st.floats(allow_nan=True, allow_infinity=True) | st.booleans() | st.integers(-3, 3))
def test_a_reward_is_inside_the_range_or_a_fault(value: Any) -> None:
    host = Host(samples.Sums())
    if math.isfinite(value) and 0 <= value <= 1:
        assert host.judge(value) == Verdict(reward=float(value), gradings={"strict": float(value)})
    else:
        with pytest.raises(EnvironmentFault):
            host.judge(value)


@pytest.mark.parametrize("value", [None, "1", [1.0], {"reward": 1}, 1j])
def test_what_is_no_number_is_a_fault(value: Any) -> None:
    with pytest.raises(EnvironmentFault, match="must return a number or a Verdict"):
        Host(samples.Sums()).judge(value)


def test_a_component_that_is_not_finite_is_a_fault() -> None:
    for value in (math.nan, "x"):
        with pytest.raises(EnvironmentFault, match="component 'c'"):
            Host(samples.Sums()).judge(Verdict(reward=1.0, components={"c": value}))  # type: ignore[dict-item]


def test_a_verdict_that_an_author_keeps_is_not_changed() -> None:
    kept = Verdict(reward=1.0, details={"a": 1})
    judged = Host(samples.Sums()).judge(kept)
    judged.details["b"] = 2
    assert kept == Verdict(reward=1.0, details={"a": 1})


async def test_a_generated_task_is_made_again_and_each_use_has_a_copy() -> None:
    host = Host(samples.Heavy())
    task = make_task(host.environment, TaskRef(seed=1, level=0, index=0))
    first = await host.resolve(task.to_row())
    first.hidden["hidden_thing"].add(3)
    first.responses_create_params["input"].append("x")
    again = await host.resolve(task.to_row())
    again.hidden["hidden_thing"].add(4)
    assert await host.resolve(task.to_row()) == task


async def test_the_cache_is_bounded_and_does_not_mix_rows_up() -> None:
    host = Host(samples.Sums())
    for number in range(CACHED_TASKS + 10):
        row = {"responses_create_params": {"input": f"q{number}"}, "expected_answer": number}
        assert (await host.resolve(row))["secret_sum"] == number
        assert (await host.resolve(row))["secret_sum"] == number
    assert len(host._cache) == CACHED_TASKS


async def test_two_rows_of_one_claimed_id_stay_apart() -> None:
    host = Host(samples.Sums())
    rows = [{**PARAMS, "task_id": "same", "expected_answer": number} for number in (1, 2)]
    assert [(await host.resolve(row))["secret_sum"] for row in rows] == [1, 2]


async def test_hidden_fields_cannot_be_sent_in() -> None:
    host = Host(samples.Sums())
    task = make_task(host.environment, TaskRef(seed=1, level=0, index=0))
    resolved = await host.resolve({**task.to_row(), "secret_sum": 5, "hidden": {"secret_sum": 5}})
    assert resolved["secret_sum"] == task["secret_sum"] != 5


async def test_a_row_of_another_version_or_another_task_is_refused() -> None:
    host = Host(samples.Sums())
    row = make_task(host.environment, TaskRef(seed=1, level=0, index=0)).to_row()
    with pytest.raises(BadRow) as version:
        await host.resolve({**row, "environment_version": "0.0.1"})
    assert version.value.field == "environment_version"
    with pytest.raises(BadRow) as other:
        await host.resolve({**row, "task_ref": {**row["task_ref"], "index": 7}})
    assert other.value.field == "task_id"


async def test_a_generated_row_of_another_environment_is_refused() -> None:
    row = make_task(samples.Sums(), TaskRef(seed=1, level=0, index=0)).to_row()
    with pytest.raises(BadRow, match="made by 'math'") as refused:
        await Host(samples.Sums()).resolve({**row, "environment": "math", "task_id": "math-1"})
    assert refused.value.field == "environment"


async def test_tasks_of_unpicklable_hidden_fields_are_made_anew() -> None:
    class Odd(Environment):
        """Hides a function."""

        name = "odd"

        def make(self, rng: Any, level: int) -> dict[str, Any]:
            return {"prompt": str(rng.random()), "check": lambda text: text == "x"}

    host = Host(Odd())
    row = make_task(host.environment, TaskRef(seed=1, level=0, index=0)).to_row()
    for _ in range(2):
        assert (await host.resolve(row))["check"]("x")


async def test_an_ingest_that_returns_no_task_is_a_fault() -> None:
    class Forgetful(Environment):
        """Forgets to return."""

        name = "forgetful"

        def ingest(self, task: Task) -> Task:
            return None  # type: ignore[return-value]

    with pytest.raises(EnvironmentFault, match="`ingest` must return a Task, not NoneType"):
        await Host(Forgetful()).resolve(PARAMS)


async def test_a_group_gets_as_many_verdicts_as_members() -> None:
    class Short(Environment):
        """Returns too few."""

        name = "short"

        def verify_group(self, entries: list[Any]) -> list[float | Verdict]:
            return [1.0]

    with pytest.raises(EnvironmentFault, match="must return 0 verdicts in a list, not 1 verdicts"):
        await Host(Short()).grade_group([])


class Both(Environment):
    """Groups under both gradings, the published one without bounds."""

    name = "both"
    published_range = (-math.inf, math.inf)

    def verify_group(self, entries: list[GroupEntry]) -> list[float | Verdict]:
        return [0.5 for _ in entries]

    def verify_group_published(self, entries: list[GroupEntry]) -> list[float | Verdict]:
        return [7.5 for _ in entries]


@pytest.mark.parametrize(("grading", "reward"), [(Grading.STRICT, 0.5), (Grading.PUBLISHED, 7.5)])
async def test_a_group_is_graded_as_its_members_ask_and_both_rewards_are_told(grading: Grading, reward: float) -> None:
    host = Host(Both())
    assert host.gradings == ["strict", "published"]
    task = Task(environment="both", task_id="t", responses_create_params={"input": "q"})
    (verdict,) = await host.grade_group([GroupEntry("a", task, Reply("x"), grading)])
    assert (verdict.reward, verdict.grading) == (reward, grading)
    assert verdict.gradings == {"strict": 0.5, "published": 7.5}


def test_only_the_published_range_is_that_of_published_rewards() -> None:
    host = Host(Both())
    assert host.judge(7.5, Grading.PUBLISHED).reward == 7.5
    with pytest.raises(EnvironmentFault, match="outside reward_range"):
        host.judge(7.5)


def test_a_coroutine_that_waits_for_nothing_needs_no_loop() -> None:
    async def yields() -> int:
        await asyncio.sleep(0)
        return 3

    async def waits() -> None:
        await asyncio.sleep(0.001)

    assert run_now(yields()) == 3
    with pytest.raises(RuntimeError, match=r"event loop"):
        run_now(waits())


def test_making_many_tasks_lets_others_have_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gym_core.host.BREATH_S", 0.0)
    turns = 0

    async def main() -> int:
        nonlocal turns

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        await Host(samples.Sums()).tasks(1, 0, 50)
        beside.cancel()
        return turns

    assert asyncio.run(main()) >= 40
