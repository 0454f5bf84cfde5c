"""What agents earn that do not do the task: idle, random, read-only spam, vandals. The README's table is made so."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from environments.workplace.environment import Workplace
from environments.workplace.rows import world_of
from environments.workplace.tables import KEY
from environments.workplace.toolbox import READ_ONLY, TOOLS, specs
from gym_core.contracts import Task
from gym_core.environment import Call, Script
from gym_core.generate import make_tasks
from gym_core.play import play_script

ENVIRONMENT = Workplace()
DELETES = {
    "emails": "email_delete_email",
    "events": "calendar_delete_event",
    "tasks": "project_management_delete_task",
    "customers": "customer_relationship_manager_delete_customer",
}
WORDS = ("Won", "Backlog", "Completed", "Design", "30", "status", "list_name", "bar", "total_visits", "2023-12-01")


def idle(task: Task, rng: random.Random) -> Script:
    return Script()


def guess(task: Task, rng: random.Random) -> Script:
    """Six declared tools with ids and words of this world."""
    tables = world_of(task["world"]).tables
    declared = [tool["name"] for tool in task.responses_create_params["tools"]]
    ids = {key: [row[0] for row in tables[table]] for table, key in KEY.items()}
    calls = []
    for name in rng.choices(declared, k=6):
        fields = specs()[name].parameters["properties"]
        calls.append(Call(name, {f: rng.choice(ids.get(f, WORDS)) for f in fields if "page" not in f}))
    return Script(tuple(calls), rng.choice(WORDS))


def look(task: Task, rng: random.Random) -> Script:
    """Every read-only tool, and a confident reply."""
    return Script(tuple(Call(name, {"name": "a", "query": "a"}) for name in TOOLS if name in READ_ONLY), "Done.")


def vandal(task: Task, rng: random.Random) -> Script:
    """What the task asks, once more, and then everything that can be deleted goes."""
    tables = world_of(task["world"]).tables
    wreck = [Call(DELETES[table], {key: row[0]}) for table, key in KEY.items() for row in tables[table][::25]]
    script = ENVIRONMENT.oracle(task)
    assert isinstance(script, Script)
    again = [call for call in script.calls if call.name not in READ_ONLY]
    return Script((*script.calls, *again, *wreck), script.reply)


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
@pytest.mark.parametrize("agent", [idle, guess, look, vandal])
async def test_nobody_is_paid_for_something_else(agent: Callable[[Task, random.Random], Script], level: int) -> None:
    rng, earned = random.Random(level), 0.0
    tasks = make_tasks(ENVIRONMENT, seed=41, level=level, count=10, start=100)
    for task in tasks:
        _, verdict = await play_script(ENVIRONMENT, task, agent(task, rng))
        assert verdict is not None
        earned += verdict.reward
    assert earned == 0.0
