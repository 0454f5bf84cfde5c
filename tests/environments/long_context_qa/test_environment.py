"""The environment as a whole: its oracle on a thousand tasks, its splits, and agents that know nothing."""

import random

import pytest

from environments.long_context_qa.environment import LongContextQa
from environments.long_context_qa.levels import LEVELS
from gym_core.environment import Session
from gym_core.generate import make_tasks
from gym_core.reply import read_reply, text_output


class Long(LongContextQa):
    """With all levels open."""

    levels = range(len(LEVELS))


ENVIRONMENT = Long()


def reward(task, text):
    return ENVIRONMENT.verify(task, Session("s", task), read_reply(text_output(text))).reward


def check(level, count):
    rng = random.Random(level)
    tasks = make_tasks(ENVIRONMENT, seed=2031, level=level, count=count)
    for task, other in zip(tasks, tasks[1:] + tasks[:1], strict=True):
        said = ENVIRONMENT.oracle(task)
        assert reward(task, said) == 1.0, (task["family"], said)
        assert reward(task, f"<think>{said}</think>") == 0.0
        assert reward(task, "") == 0.0
        assert reward(task, task.messages[0]["content"]) == 0.0
        assert reward(task, " ".join(rng.choices(task.messages[0]["content"].split(), k=8))) == 0.0
        if ENVIRONMENT.oracle(other) != said:
            assert reward(task, f"{said} or {ENVIRONMENT.oracle(other)}") == 0.0


@pytest.mark.parametrize(("level", "count"), [(0, 150), (1, 150), (2, 60), (3, 30), (4, 15), (5, 10)])
def test_the_oracle_earns_the_maximum_and_who_knows_nothing_nothing(level, count):
    check(level, count)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("level", "count"),
    [(0, 200), (1, 200), (2, 200), (3, 150), (4, 100), (5, 100), (6, 30), (7, 15), (8, 5)],
)
def test_the_oracle_earns_the_maximum_on_a_thousand_tasks(level, count):
    check(level, count)


def test_the_answer_needs_more_than_the_question():
    """Whoever takes a number, a name or a date of the question itself earns nothing."""
    for task in make_tasks(ENVIRONMENT, seed=8, level=1, count=60):
        for word in task["question"].replace(",", "").replace("?", "").split():
            if task["family"] not in ("ranked", "count_over", "in_order"):
                assert reward(task, f"Answer: {word}") == 0.0


@pytest.mark.parametrize("level", [0, 1])
def test_splits_share_no_prompt(level):
    prompts = {
        split: {
            task.messages[0]["content"] for task in make_tasks(ENVIRONMENT, seed=4, level=level, count=60, split=split)
        }
        for split in ("train", "heldout")
    }
    assert len(prompts["train"]) == len(prompts["heldout"]) == 60
    assert not prompts["train"] & prompts["heldout"]


def test_a_verdict_names_its_family_and_reason():
    (task,) = make_tasks(ENVIRONMENT, seed=4, level=1, count=1)
    verdict = ENVIRONMENT.verify(task, Session("s", task), read_reply(text_output("Answer: no")))
    assert verdict.details["family"] == task["family"]
    assert verdict.details["reason"]
