"""The verifier's cases, shipped with the environment: each one earns what it says."""

import json
from collections import Counter
from pathlib import Path

import pytest

from environments.calendar.environment import Calendar
from gym_core.contracts import Task
from gym_core.environment import Session
from gym_core.reply import read_reply, text_output

FILE = Path(__file__).parents[3] / "environments/calendar/cases.jsonl"
CASES = [json.loads(line) for line in FILE.read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_case(case):
    environment = Calendar()
    task = environment.ingest(Task.from_row(case["row"], "calendar"))
    grade = environment.verify_published if case.get("grading") == "published" else environment.verify
    verdict = grade(task, Session("s", task), read_reply(text_output(case["output"])))
    assert verdict.reward == case["reward"], verdict.details


def test_all_kinds_are_covered():
    kinds = Counter(case["kind"] for case in CASES)
    assert set(kinds) == {"full", "zero", "malformed", "hacked"}
    assert kinds["hacked"] >= 40
