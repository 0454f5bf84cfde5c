"""Generated tasks: proven by their witness, earned by no constant reply, short where they must be."""

from __future__ import annotations

import hashlib
import random

import pytest

from environments.instruction_following.conflicts import CONFLICTS, compatible
from environments.instruction_following.environment import InstructionFollowing
from environments.instruction_following.instructions import counterexample, follow
from environments.instruction_following.verifiers import REGISTRY
from environments.instruction_following.witness import Plan, render
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD, PALINDROMES, POOL
from gym_core.contracts import Task, TaskRef
from gym_core.environment import Session
from gym_core.generate import make_task, make_tasks
from gym_core.reply import read_reply, text_output

ENVIRONMENT = InstructionFollowing()


def drawn(level: int, count: int = 60, split: str = "train") -> list[Task]:
    return [make_task(ENVIRONMENT, TaskRef(seed=11, level=level, index=i, split=split)) for i in range(count)]


def reward(task: Task, text: str) -> float:
    return ENVIRONMENT.verify(task, Session("s", task), read_reply(text_output(text))).reward


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
def test_the_oracle_earns_everything_and_a_broken_constraint_nothing(level: int) -> None:
    exact = broken = 0
    for task in drawn(level):
        proof = ENVIRONMENT.oracle(task)
        assert reward(task, proof) == 1.0
        for number in range(len(task["instructions"])):
            spoiled = counterexample(task["instructions"], number, proof)
            assert reward(task, spoiled) == 0.0
            broken += 1
            exact += sum(follow(task["instructions"], spoiled)) == len(task["instructions"]) - 1
    assert exact / broken > 0.6


@pytest.mark.parametrize(("level", "most"), [(6, 2), (7, 4), (8, 6)])
def test_the_benchmark_joins_from_level_6_on(level: int, most: int) -> None:
    tasks = drawn(level)
    benchmark = [sum(REGISTRY[name].benchmark for name in task["instruction_id_list"]) for task in tasks]
    assert min(benchmark) >= (3 if level == 8 else 1)
    assert max(len(task["instructions"]) for task in tasks) == most
    assert len({name for task in tasks for name in task["instruction_id_list"]}) > 30
    assert all(task["benchmark"] for task in tasks)


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4, 5])
def test_the_levels_below_know_nothing_of_the_benchmark(level: int) -> None:
    for task in drawn(level):
        assert not any(REGISTRY[name].benchmark for name in task["instruction_id_list"])
        assert "benchmark" not in task.hidden


def test_level_0_is_the_one_that_the_demo_was_measured_on() -> None:
    prompts = [task.messages[0]["content"] for task in drawn(0, 200)]
    digest = hashlib.sha256("\n".join([*prompts, *(task["witness"] for task in drawn(0, 200))]).encode()).hexdigest()
    assert digest[:16] == "e91895977484027f"


@pytest.mark.parametrize("level", [1, 2, 3, 4, 5])
def test_a_level_is_a_number_of_constraints(level: int) -> None:
    sizes = {len(task["instructions"]) for task in drawn(level)}
    assert max(sizes) == level
    assert sizes <= {2, level}


def test_constraints_of_one_task_are_compatible() -> None:
    for task in [*drawn(5), *drawn(7), *drawn(8)]:
        names = task["instruction_id_list"]
        if not any(REGISTRY[name].solo for name in names):
            assert all(compatible(name, [other for other in names if other != name]) for name in names)
    assert all(len(pair) == 2 for pair in CONFLICTS)
    assert {name for pair in CONFLICTS for name in pair} <= set(REGISTRY)


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
def test_idle_and_constant_replies_earn_next_to_nothing(level: int) -> None:
    tasks = drawn(level, 200)
    assert sum(reward(task, "") for task in tasks) == 0.0
    for constant in ("it is stone", "done", "the", " ".join(FILLER[:30]) + ".", ENVIRONMENT.oracle(tasks[0])):
        assert sum(reward(task, constant) for task in tasks) / len(tasks) < 0.05


@pytest.mark.parametrize("level", ENVIRONMENT.levels)
def test_echoing_the_prompt_or_its_end_earns_nothing(level: int) -> None:
    for task in drawn(level, 100):
        prompt = task.messages[0]["content"]
        if not any("copy" in name or "repeat" in name for name in task["instruction_id_list"]):
            assert reward(task, prompt) == reward(task, f"Sure. {prompt} Done.") == 0.0
        if level == 0:
            assert reward(task, prompt.partition(" ")[2]) == 0.0


def test_the_demo_level_is_short_and_large() -> None:
    tasks = make_tasks(ENVIRONMENT, seed=0, level=0, count=600, split="heldout")
    for task in tasks:
        assert len(task.messages[0]["content"].split()) <= 8
        assert len(ENVIRONMENT.oracle(task).split()) <= 4
        assert len(task["instructions"]) == 1
    assert len({task["instruction_id_list"][0] for task in tasks}) == 4
    train = {task.task_id for task in make_tasks(ENVIRONMENT, seed=0, level=0, count=3000)}
    assert not train & {task.task_id for task in tasks}


def test_a_title_is_never_taken_for_the_beginning_of_thinking() -> None:
    for seed in range(400):
        proof = render(Plan(random.Random(seed), title=True, num_words=8))
        assert read_reply(text_output(proof)).text == proof


def test_the_same_reference_makes_the_same_task() -> None:
    ref = TaskRef(seed=5, level=4, index=9)
    assert make_task(ENVIRONMENT, ref) == make_task(ENVIRONMENT, ref)


def test_hidden_fields_stay_hidden_and_the_public_row_can_be_ingested_again() -> None:
    for level in ENVIRONMENT.levels:
        for task in drawn(level, 10):
            row = task.to_row()
            assert "witness" not in row and "instructions" not in row
            del row["task_ref"]
            again = ENVIRONMENT.ingest(Task.from_row(row))
            assert again["instructions"] == task["instructions"]


def test_the_word_lists_do_not_touch() -> None:
    assert len(set(POOL)) == len(POOL) >= 60
    assert not set(POOL) & set(FILLER)
    # The public checkers find keywords inside other words: no pool word may hide in one.
    everything = [*POOL, *FILLER, *PALINDROMES, NOT_EVEN_A_WORD]
    assert not [(word, other) for word in POOL for other in everything if word != other and word in other]


def test_a_random_agent_earns_little() -> None:
    rng = random.Random(0)
    tasks = drawn(0, 400)
    total = sum(reward(task, " ".join(rng.choices(POOL, k=3))) for task in tasks)
    assert total / len(tasks) < 0.05
