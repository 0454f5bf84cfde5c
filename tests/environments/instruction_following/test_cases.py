"""Every line of cases.jsonl gives the reward it states, strictly or as published."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import environments.instruction_following as package
from environments.instruction_following.environment import InstructionFollowing
from gym_core.contracts import Task, TaskRef
from gym_core.environment import Session
from gym_core.generate import make_task
from gym_core.reply import read_reply, text_output

CASES = [json.loads(line) for line in (Path(package.__file__).parent / "cases.jsonl").read_text().splitlines()]
ENVIRONMENT = InstructionFollowing()


def task_of(case: dict[str, Any]) -> Task:
    if "task_ref" in case:
        return make_task(ENVIRONMENT, TaskRef(**case["task_ref"]))
    return ENVIRONMENT.ingest(Task.from_row(case["row"], ENVIRONMENT.name))


@pytest.mark.parametrize("number", range(len(CASES)))
def test_case(number: int) -> None:
    case = CASES[number]
    task, output = task_of(case), case["output"]
    reply = read_reply(text_output(output) if isinstance(output, str) else output)
    grade = ENVIRONMENT.verify_published if case.get("grading") == "published" else ENVIRONMENT.verify
    assert grade(task, Session("s", task), reply).reward == case["reward"], case


def test_there_are_cases_of_every_kind() -> None:
    kinds = Counter(case["kind"] for case in CASES)
    assert set(kinds) == {"full", "zero", "malformed", "hacked"}
    assert min(kinds.values()) >= 5
