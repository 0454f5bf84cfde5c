"""The shared records: what a row becomes, what comes back out, what is refused."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gym_core.contracts import (
    RUN_KEY,
    Outcome,
    Rollout,
    RunOptions,
    Task,
    TaskProfile,
    TaskRef,
    Usage,
    Verdict,
    content_id,
)
from gym_core.errors import BadRow

PARAMS: dict[str, Any] = {"input": [{"role": "user", "content": "hi"}]}
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
extra_keys = st.text(min_size=1, max_size=8).filter(
    lambda key: key not in {"environment", "task_id", "task_ref", "responses_create_params", RUN_KEY}
)


@given(st.dictionaries(extra_keys, values, max_size=4))
def test_unknown_fields_of_a_row_come_back_as_they_came(fields: dict[str, Any]) -> None:
    row = {"responses_create_params": PARAMS, **fields}
    back = Task.from_row(row, "maths").to_row()
    assert {key: back[key] for key in fields} == fields
    assert back["responses_create_params"] == PARAMS
    assert Task.from_row(back).to_row() == back


def test_hidden_fields_and_run_options_are_no_part_of_the_row() -> None:
    task = Task.from_row({"responses_create_params": PARAMS, RUN_KEY: {"seed": 1}, "gold": 1}, "e")
    task.hidden["answer"] = 42
    assert task["answer"] == 42
    assert task["gold"] == 1
    assert task.get("nothing", "x") == "x"
    assert set(task.to_row()) == {"environment", "task_id", "responses_create_params", "gold"}
    with pytest.raises(KeyError):
        task["nothing"]


def test_a_hidden_field_hides_one_of_the_row() -> None:
    task = Task(environment="e", task_id="t", responses_create_params=PARAMS, fields={"a": 1}, hidden={"a": 2})
    assert task["a"] == task.get("a") == 2


def test_the_same_content_is_the_same_task_and_other_content_is_not() -> None:
    one = Task.from_row({"responses_create_params": PARAMS, "a": 1, "b": 2})
    two = Task.from_row({"b": 2, "a": 1, "responses_create_params": PARAMS})
    assert one.task_id == two.task_id == content_id(PARAMS, {"a": 1, "b": 2})
    assert Task.from_row({"responses_create_params": PARAMS, "a": 2, "b": 2}).task_id != one.task_id
    assert Task.from_row({"responses_create_params": PARAMS, "task_id": 7}).task_id == "7"


def test_plain_text_is_one_user_message() -> None:
    assert Task.from_row({"responses_create_params": {"input": "hi"}}).messages == PARAMS["input"]


@pytest.mark.parametrize(
    ("row", "field"),
    [
        ([], ""),
        ({}, "responses_create_params"),
        ({"responses_create_params": "x"}, "responses_create_params"),
        ({"responses_create_params": {}}, "responses_create_params.input"),
        ({"responses_create_params": {"input": ""}}, "responses_create_params.input"),
        ({"responses_create_params": {"input": []}}, "responses_create_params.input"),
        ({"responses_create_params": {"input": [{}, "x"]}}, "responses_create_params.input[1]"),
        ({"responses_create_params": PARAMS, "task_ref": {"seed": 1, "level": "x", "index": 0}}, "task_ref.level"),
    ],
)
def test_a_row_that_does_not_fit_names_its_field(row: Any, field: str) -> None:
    with pytest.raises(BadRow) as refused:
        Task.from_row(row)
    assert refused.value.field == field


def test_a_reference_travels_with_the_row() -> None:
    ref = TaskRef(seed=1, level=2, index=3, split="heldout")
    task = Task(environment="e", task_id="t", responses_create_params=PARAMS, ref=ref)
    assert Task.from_row(msgspec.json.decode(msgspec.json.encode(task.to_row()))).ref == ref


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_a_reward_is_finite(reward: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Verdict(reward=reward)


def test_only_what_was_scored_or_cut_off_trains() -> None:
    assert {outcome for outcome in Outcome if outcome.trainable} == {Outcome.SCORED, Outcome.TRUNCATED}


def test_a_rollout_without_a_verdict_has_no_reward() -> None:
    rollout = Rollout(rollout_id="r", environment="e", task_id="t", outcome=Outcome.ENV_ERROR)
    assert rollout.reward is None
    rollout.verdict = Verdict(reward=0.5)
    assert rollout.reward == 0.5
    assert msgspec.json.decode(msgspec.json.encode(rollout), type=Rollout) == rollout


def test_two_rollouts_share_no_counts() -> None:
    one, two = (Rollout(rollout_id=r, environment="e", task_id="t", outcome=Outcome.SCORED) for r in "ab")
    one.usage.turns += 1
    one.labels["a"] = "b"
    assert two.usage == Usage()
    assert two.labels == {}


def test_unknown_run_options_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="sede"):
        msgspec.convert({"sede": 1}, RunOptions)


def test_a_pass_rate_is_the_posterior_mean() -> None:
    assert TaskProfile(environment="e", task_id="t", checkpoint="c", passes=3, count=4).pass_rate == 4 / 6


def test_a_task_id_that_is_a_number_names_the_task_and_is_echoed_as_a_number() -> None:
    task = Task.from_row({"responses_create_params": {"input": "q"}, "task_id": 3})
    assert task.task_id == "3"
    assert task.to_row()["task_id"] == 3
    assert Task.from_row(task.to_row()).task_id == "3"
