"""Options that no rollout can have are refused at the door: nothing is played, and no other row of a batch is lost."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import FakePolicy, message

from gym_core.errors import BadRequest

ROW: dict[str, Any] = {"environment": "fake", "responses_create_params": {"input": "hi"}}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("rollout_id", "a\0b"),
        ("rollout_id", "a\r\nX-Injected: 1"),
        ("rollout_id", "x" * 513),
        ("run_id", "run\0"),
        ("group_id", "\x7f"),
        ("step", 2**63),
        ("step", -(2**70)),
        ("group_size", 0),
        ("repeat", -1),
        ("max_steps", -1),  # no turn at all would be judged as an empty answer: a reward that nobody earned
        ("max_turns", -1),
    ],
)
async def test_an_impossible_option_is_refused_before_anything_is_played(house: Any, option: str, value: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    bad = {**ROW, "palaestra": {option: value}}
    with pytest.raises(BadRequest) as refused:
        await made.client.post("/run", bad)
    assert refused.value.field == f"palaestra.{option}"
    with pytest.raises(BadRequest) as refused:
        await anext(made.client.stream("/rollouts", {"rows": [ROW, bad]}))
    assert refused.value.field == f"rows[1].palaestra.{option}"
    assert made.policy.requests == [] and made.environment.opened == 0


async def test_a_task_without_a_name_that_can_be_stored_is_refused(house: Any) -> None:
    made = await house(FakePolicy([message("4")]))
    with pytest.raises(BadRequest) as refused:
        await made.client.post("/run", {**ROW, "task_id": "a\0"})
    assert refused.value.field == "task_id" and made.policy.requests == []


@pytest.mark.parametrize("name", ["ünï 日本", "../../etc", "a/b:c#d?e", "x" * 512])
async def test_names_of_any_script_are_taken(house: Any, name: str) -> None:
    made = await house(FakePolicy([message("4")]))
    told = await made.client.post_json("/run", {**ROW, "palaestra": {"rollout_id": name, "run_id": name}})
    assert (told["outcome"], told["rollout_id"]) == ("scored", name)
