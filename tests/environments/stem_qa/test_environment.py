"""Generated tasks: solvable, worth chance to whoever guesses, small at level 0."""

import random
from collections import Counter

import pytest

from environments.stem_qa.environment import StemQa
from gym_core.environment import Session
from gym_core.generate import make_tasks
from gym_core.reply import read_reply, text_output

ENVIRONMENT = StemQa()


def verdict(task, text):
    return ENVIRONMENT.verify(task, Session("s", task), read_reply(text_output(text)))


def letters(task):
    return [letter for entry in task["options"] for letter in entry]


@pytest.mark.parametrize("level", StemQa.levels)
def test_the_oracle_earns_everything_and_every_other_letter_nothing(level):
    for task in make_tasks(ENVIRONMENT, seed=3, level=level, count=60):
        best = ENVIRONMENT.oracle(task)
        said = verdict(task, best)
        assert said.reward == 1.0 and said.details["error_model"] == "no error"
        published = ENVIRONMENT.verify_published(task, Session("s", task), read_reply(text_output(best)))
        assert published.reward == 1.0
        right = task["expected_answer"]
        for letter in letters(task):
            if letter != right:
                said = verdict(task, best[::-1].replace(right, letter, 1)[::-1])
                assert said.reward == 0.0
                assert said.details["error_model"] == task["models"][letter] != "no error"
        for text in ("", right, f"<think>{best}</think>", task.messages[0]["content"], " ".join(letters(task))):
            assert verdict(task, text).reward == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("level", StemQa.levels)
def test_the_oracle_of_a_thousand_tasks(level):
    for task in make_tasks(ENVIRONMENT, seed=4, level=level, count=1000):
        assert verdict(task, ENVIRONMENT.oracle(task)).reward == 1.0


@pytest.mark.parametrize("level", StemQa.levels)
def test_no_letter_and_no_place_is_favoured(level):
    """400 tasks: a constant letter stays within four standard deviations of chance."""
    tasks = make_tasks(ENVIRONMENT, seed=9, level=level, count=400)
    counts = Counter(task["expected_answer"] for task in tasks)
    for letter in "ABCDEFGHIJ":
        chances = [1 / len(letters(task)) if letter in letters(task) else 0.0 for task in tasks]
        spread = sum(p * (1 - p) for p in chances) ** 0.5
        assert abs(counts[letter] - sum(chances)) <= 4 * spread, (letter, counts)


def test_guessing_is_chance_below_the_floor_of_the_manifest():
    draw = random.Random(1)
    for level in StemQa.levels:
        tasks = make_tasks(ENVIRONMENT, seed=10, level=level, count=200)
        guesses = [f"\\boxed{{{draw.choice(letters(task))}}}" for task in tasks]
        assert sum(verdict(task, guess).reward for task, guess in zip(tasks, guesses, strict=True)) / 200 < 0.36


def test_level_0_is_short_and_wide():
    tasks = make_tasks(ENVIRONMENT, seed=0, level=0, count=2000)
    assert max(len(task.messages[0]["content"].split()) for task in tasks) <= 22
    assert all(len(task["options"]) == 4 for task in tasks)


def test_options_are_shown_as_they_are_sent():
    for level in StemQa.levels:
        for task in make_tasks(ENVIRONMENT, seed=5, level=level, count=20):
            for entry in task["options"]:
                for letter, text in entry.items():
                    assert f"{letter}: {text}" in task.messages[0]["content"]


def test_hidden_fields_stay_home():
    for level in StemQa.levels:
        for task in make_tasks(ENVIRONMENT, seed=0, level=level, count=5):
            assert not {"expected_answer", "models", "reply", "check", "query", "family"} & set(task.to_row())
