"""Generated tasks: the same name is the same task, splits never overlap, hidden stays hidden."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gym_core.contracts import TaskRef
from gym_core.environment import Environment
from gym_core.errors import BadRequest
from gym_core.generate import HELDOUT_SHARE, iter_tasks, make_task, make_tasks, split_of
from gym_core.loading import load_file
from gym_core.seeds import derive, rng

samples = load_file(Path(__file__).with_name("samples.py"))


class Tiny(Environment):
    """Only so many prompts."""

    name = "tiny"

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return {"prompt": [{"role": "user", "content": str(rng.randrange(8))}], "system": "be brief", "gold": 1}


refs = st.builds(
    TaskRef,
    seed=st.integers(0, 10**6),
    level=st.integers(0, 4),
    index=st.integers(0, 10**6),
    split=st.sampled_from(["train", "heldout"]),
)


@settings(deadline=None)
@given(refs)
def test_a_reference_names_one_task_of_its_split(ref: TaskRef) -> None:
    task = make_task(samples.Sums(), ref)
    assert task == make_task(samples.Sums(), ref)
    assert split_of(task.responses_create_params) == ref.split
    assert task.ref == ref


def test_hidden_and_public_fields_are_told_apart() -> None:
    task = make_task(samples.Sums(), TaskRef(seed=1, level=0, index=0))
    assert set(task.hidden) == {"secret_sum"}
    assert task.fields == {"environment_version": "1.2.0", "terms": 2}
    assert "secret_sum" not in task.to_row()


def test_tools_are_declared_as_far_as_the_task_lists_them() -> None:
    task = make_task(samples.Counter(), TaskRef(seed=1, level=0, index=0))
    assert [tool["name"] for tool in task.tools] == ["add", "slow", "broken", "away", "read"]
    assert task.responses_create_params["parallel_tool_calls"] is True


def test_a_task_may_declare_tools_that_no_method_answers() -> None:
    declaration = {"type": "function", "name": "submit", "parameters": {"type": "object", "properties": {}}}

    class Form(Tiny):
        name = "form"

        def make(self, rng: random.Random, level: int) -> dict[str, Any]:
            return {"prompt": f"Submit {rng.random()}.", "tools": [declaration]}

    class Both(samples.Counter):
        name = "both"

        def make(self, rng: random.Random, level: int) -> dict[str, Any]:
            return {"prompt": f"Submit {rng.random()}.", "tools": ["add", declaration]}

    ref = TaskRef(seed=1, level=0, index=0)
    assert make_task(Form(), ref).tools == [declaration]
    assert [tool["name"] for tool in make_task(Both(), ref).tools] == ["add", "submit"]
    assert "tools" not in make_task(Tiny(), ref).responses_create_params


def test_a_system_prompt_stands_before_the_items_of_the_prompt() -> None:
    items = make_task(Tiny(), TaskRef(seed=1, level=0, index=0)).messages
    assert [item["role"] for item in items] == ["system", "user"]


def test_tasks_have_different_prompts_and_start_where_asked() -> None:
    sums = samples.Sums()
    made = make_tasks(sums, seed=1, level=0, count=200)
    assert len({task.task_id for task in made}) == 200
    assert make_tasks(sums, seed=1, level=0, count=5, start=10) == made[10:15]
    assert make_tasks(sums, seed=1, level=0, count=0) == []


def test_splits_never_share_a_prompt_whatever_the_seeds() -> None:
    sums = samples.Sums()
    train = {task.task_id for seed in range(5) for task in make_tasks(sums, seed=seed, level=0, count=100)}
    held = {
        task.task_id for seed in range(5) for task in make_tasks(sums, seed=seed, level=0, count=100, split="heldout")
    }
    assert not train & held


def test_about_one_prompt_in_eight_is_held_out() -> None:
    held = sum(split_of({"input": str(number)}) == "heldout" for number in range(8000))
    assert 0.9 * 8000 / HELDOUT_SHARE < held < 1.1 * 8000 / HELDOUT_SHARE


def test_a_level_that_runs_out_says_how_many_there_are() -> None:
    found = []
    with pytest.raises(BadRequest, match=r"has only \d different prompts|too few prompts"):
        for task in iter_tasks(Tiny(), seed=1, level=0):
            found.append(task.task_id)
    assert len(found) == len(set(found)) <= 8


@pytest.mark.parametrize(
    ("ref", "field"),
    [
        (TaskRef(seed=1, level=5, index=0), "task_ref.level"),
        (TaskRef(seed=1, level=-1, index=0), "task_ref.level"),
        (TaskRef(seed=1, level=0, index=0, split="test"), "task_ref.split"),
    ],
)
def test_a_wrong_reference_names_its_field(ref: TaskRef, field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        make_task(samples.Sums(), ref)
    assert refused.value.field == field


@given(st.lists(st.integers(0, 10**9) | st.text(max_size=5), max_size=4))
def test_a_path_of_seeds_names_one_seed(path: list[Any]) -> None:
    assert 0 <= derive(*path) < 2**63
    assert derive(*path) == derive(*path)
    assert rng(*path).random() == random.Random(derive(*path)).random()
    assert derive(*path, "a") != derive(*path, "b")


def test_seeds_do_not_depend_on_the_process() -> None:
    assert (
        derive("run", 1, "turn", 2) == 6843440371455212793
    )  # printf "run\x1f1\x1fturn\x1f2" | b2sum -l 64, read little-endian, halved


def test_an_environment_without_a_generator_says_so() -> None:
    class Rows(Environment):
        name = "rows"

    with pytest.raises(BadRequest, match="'rows' generates no tasks") as refused:
        make_task(Rows(), TaskRef(seed=1, level=0, index=0))
    assert refused.value.hint == "give it rows"
