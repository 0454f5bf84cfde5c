"""Agents that know something and not enough earn nothing, or what their half of the truth is worth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from environments.banking.environment import Banking
from gym_core.contracts import Task
from gym_core.environment import Script
from gym_core.generate import make_tasks
from gym_core.loading import load_file
from gym_core.play import play_script
from gym_core.seeds import rng

AGENTS = load_file(Path(__file__).with_name("agents.py")).AGENTS
ENVIRONMENT = Banking()
UNPAID = (*("idle", "polite", "random", "skips the check", "never ends", "vandal", "vandal who repairs"),)
LUCKY = ("always a human", "always declines")


async def mean(name: str, level: int, count: int) -> float:
    agent: Callable[..., Script] = AGENTS[name]
    total = 0.0
    for task in make_tasks(ENVIRONMENT, seed=5, level=level, count=count):
        _, verdict = await play_script(ENVIRONMENT, task, agent(task, rng("agent", name, task.task_id)))
        assert verdict is not None
        total += verdict.reward
    return total / count


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
@pytest.mark.parametrize("name", UNPAID)
async def test_nobody_is_paid_for_something_else(name: str, level: int) -> None:
    assert await mean(name, level, 15) == 0.0


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
@pytest.mark.parametrize("name", LUCKY)
async def test_one_answer_to_everything_is_hardly_ever_right(name: str, level: int) -> None:
    assert await mean(name, level, 40) <= 0.05


def with_plan(level: int, wanted: Callable[[Task], bool]) -> list[Task]:
    found = [task for task in make_tasks(ENVIRONMENT, seed=6, level=level, count=60) if wanted(task)]
    assert found
    return found


def wants_telling(task: Task) -> bool:
    """Some facts are not told already by reading back what will be done."""
    return any(goal.facts.wanted and not goal.confirm for goal in task["plan"].goals)


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
async def test_facts_that_are_not_told_cost_the_reward(level: int) -> None:
    for task in with_plan(level, wants_telling):
        _, verdict = await play_script(ENVIRONMENT, task, AGENTS["tells nothing"](task, rng("x")))
        assert verdict is not None and verdict.reward == 0.0
        assert verdict.components["communication"] == 0.0


@pytest.mark.parametrize("level", [3, 4, 5])
async def test_writes_before_the_customers_yes_cost_the_reward(level: int) -> None:
    for task in with_plan(level, lambda task: any(goal.confirm for goal in task["plan"].goals)):
        _, verdict = await play_script(ENVIRONMENT, task, AGENTS["rash"](task, rng("x")))
        assert verdict is not None and verdict.reward == 0.0
        assert verdict.components["rules"] == 0.0 and "read_back" in verdict.details["violations"]
