"""The verifier's cases, shipped with the environment: each one earns what it says."""

import json
from collections import Counter
from pathlib import Path

import pytest

from environments.tool_call_pivot.environment import ToolCallPivot
from gym_core.contracts import Task
from gym_core.environment import Session
from gym_core.reply import read_reply, text_output

FILE = Path(__file__).parents[3] / "environments/tool_call_pivot/cases.jsonl"
CASES = [json.loads(line) for line in FILE.read_text().splitlines()]


def graded(case, grading):
    environment = ToolCallPivot()
    task = environment.ingest(Task.from_row(case["row"], "tool_call_pivot"))
    output = text_output(case["output"]) if isinstance(case["output"], str) else case["output"]
    grade = environment.verify_published if grading == "published" else environment.verify
    return grade(task, Session("s", task), read_reply(output))


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_case(case):
    verdict = graded(case, case.get("grading", "strict"))
    assert verdict.reward == case["reward"], verdict.details


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_what_is_paid_strictly_is_paid_by_the_published_verifier_too(case):
    assert graded(case, "strict").reward <= graded(case, "published").reward


def test_all_kinds_are_covered():
    kinds = Counter(case["kind"] for case in CASES)
    assert set(kinds) == {"full", "zero", "malformed", "hacked"}
    assert kinds["hacked"] >= 25
