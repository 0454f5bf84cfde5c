"""The verifier's cases, shipped with the environment: each one earns what it says."""

import json
from collections import Counter
from pathlib import Path

import pytest

from environments.structured_outputs.environment import StructuredOutputs
from gym_core.contracts import Task, TaskRef
from gym_core.environment import Session
from gym_core.generate import make_task
from gym_core.play import call_items
from gym_core.reply import read_reply, text_output

FILE = Path(__file__).parents[3] / "environments/structured_outputs/cases.jsonl"
CASES = [json.loads(line) for line in FILE.read_text().splitlines()]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_case(case):
    environment = StructuredOutputs()
    if "row" in case:
        task = environment.ingest(Task.from_row(case["row"], "structured_outputs"))
    else:
        task = make_task(environment, TaskRef(**case["task_ref"]))
    output = text_output(case["output"]) if isinstance(case["output"], str) else case["output"]
    for number, call in enumerate(case.get("calls", [])):
        output = call_items(str(number), call["name"], json.dumps(call["arguments"]), "no such tool") + output
    grade = environment.verify_published if case.get("grading") == "published" else environment.verify
    verdict = grade(task, Session("s", task), read_reply(output))
    assert verdict.reward == case["reward"], verdict.details


def test_all_kinds_are_covered():
    kinds = Counter(case["kind"] for case in CASES)
    assert set(kinds) == {"full", "zero", "malformed", "hacked"}
    assert kinds["hacked"] >= 60
