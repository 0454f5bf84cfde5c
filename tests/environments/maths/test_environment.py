"""Ingest, the published rows, and properties that hold for any reply."""

import itertools
import json
import random
import sys
import threading
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.maths.blends import reshape
from environments.maths.deadline import Overrun, deadline
from environments.maths.environment import Math
from environments.maths.grading import grade_published, grade_strict
from gym_core.contracts import Task
from gym_core.environment import Session
from gym_core.errors import BadRow
from gym_core.generate import make_tasks
from gym_core.reply import read_reply, text_output

ROWS = Path(__file__).parents[4] / "shared/rows/math_with_judge.jsonl"


def row(**fields):
    return {"responses_create_params": {"input": "What is 2 + 3?"}, "question": "What is 2 + 3?", **fields}


def reward(task, text):
    environment = Math()
    return environment.verify(task, Session("s", task), read_reply(text_output(text))).reward


def ingest(raw):
    return Math().ingest(Task.from_row(raw, "math"))


def test_published_rows_are_ingested_unchanged_and_can_be_solved():
    if not ROWS.exists():
        warnings.warn("no published rows beside this checkout: nothing compared", UserWarning, stacklevel=1)
        pytest.skip("shared/rows is not here")
    for line in ROWS.read_text().splitlines():
        raw = json.loads(line)
        task = ingest(raw)
        sent = task.to_row()
        assert {name: sent[name] for name in raw} == raw
        assert reward(task, Math().oracle(task)) == 1.0
        assert reward(task, "") == 0.0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "expected_answer"),
        ({"expected_answer": None}, "expected_answer"),
        ({"expected_answer": ""}, "expected_answer"),
        ({"expected_answer": "$$"}, "expected_answer"),
        ({"expected_answer": ["5"]}, "expected_answer"),
        ({"expected_answer": True}, "expected_answer"),
        ({"reward_model": {"ground_truth": ""}}, "reward_model.ground_truth"),
        ({"expected_answer": "5", "_hf_placeholder": {"row": 3}}, "_hf_placeholder"),
    ],
)
def test_what_can_never_be_graded_is_refused(fields, field):
    with pytest.raises(BadRow) as caught:
        ingest(row(**fields))
    assert caught.value.field == field


def test_null_padding_is_dropped_and_the_rest_is_echoed():
    task = ingest(row(expected_answer="5", pass_rate=0.5, judge=None))
    assert task.to_row()["pass_rate"] == 0.5
    assert "judge" not in task.to_row()


def test_a_number_is_an_answer():
    assert reward(ingest(row(expected_answer=5)), r"\boxed{5}") == 1.0


def test_raw_rows_of_dapo_and_skywork():
    raw = {"prompt": [{"role": "user", "content": "2+3?"}], "reward_model": {"ground_truth": '["5"]'}, "extra": None}
    task = ingest(reshape(raw))
    assert reward(task, r"\boxed{5}") == 1.0
    with pytest.raises(BadRow):
        reshape({"prompt": []})


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_text_makes_the_strict_verifier_raise(text):
    assert grade_strict("5", text)[0] in (0.0, 1.0)


@given(st.text(alphabet="0123456789xyz+-*/^=,;(){}[]\\!_ .$%orfracsqtboxed<>", max_size=40))
@settings(max_examples=60, deadline=None)
def test_no_box_makes_either_verifier_raise(content):
    text = "\\boxed{" + content + "}"
    for gold in ("5", r"\sqrt{2}", "(1,2)"):
        assert grade_strict(gold, text)[0] in (0.0, 1.0)
        assert grade_published(gold, text)[0] in (0.0, 1.0)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_integers_are_compared_exactly(gold, answer):
    assert grade_strict(str(gold), f"\\boxed{{{answer}}}")[0] == float(gold == answer)


@pytest.mark.parametrize("level", Math.levels)
def test_the_oracle_earns_everything_and_its_mutations_nothing(level):
    environment = Math()
    tasks = make_tasks(environment, seed=3, level=level, count=40)
    for task, other in itertools.pairwise(tasks):
        assert reward(task, environment.oracle(task)) == 1.0
        assert (
            environment.verify_published(
                task, Session("s", task), read_reply(text_output(environment.oracle(task)))
            ).reward
            == 1.0
        )
        same = task["expected_answer"] == other["expected_answer"]
        assert reward(task, environment.oracle(other)) == float(same)
        assert reward(task, f"\\boxed{{{task['expected_answer']}7}}") == 0.0
        assert reward(task, task["expected_answer"]) == 0.0
        assert reward(task, f"\\boxed{{{task.messages[0]['content']}}}") == 0.0


def test_idle_and_random_agents_earn_nothing_worth_having():
    environment = Math()
    draw = random.Random(0)
    tasks = make_tasks(environment, seed=5, level=0, count=200)
    assert sum(reward(task, "") for task in tasks) == 0.0
    words = ["pens", "5", "\\boxed", "{", "}", "?", "has", " "]
    assert sum(reward(task, "".join(draw.choices(words, k=12))) for task in tasks) <= 2.0


def test_verification_needs_no_main_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(grade_strict("x^2-1", r"\boxed{(x-1)(x+1)}")[0]))
    thread.start()
    thread.join()
    assert results == [1.0]


def test_deadline_stops_python_code_and_gives_the_trace_hook_back():
    before = sys.gettrace()

    def work():
        return None

    with pytest.raises(Overrun), deadline(0.01):
        while True:
            work()
    assert sys.gettrace() is before
