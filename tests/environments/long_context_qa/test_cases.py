"""The verifier's cases, shipped with the environment: each one earns what it says."""

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest

from environments.long_context_qa.environment import LongContextQa
from gym_core.contracts import Task, TaskRef
from gym_core.environment import Session
from gym_core.generate import make_task
from gym_core.reply import read_reply, text_output

FILE = Path(__file__).parents[3] / "environments/long_context_qa/cases.jsonl"
CASES = [json.loads(line) for line in FILE.read_text().splitlines()]
ENVIRONMENT = LongContextQa()


@lru_cache
def generated(**ref):
    return make_task(ENVIRONMENT, TaskRef(**ref))


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_case(case):
    if "row" in case:
        task = ENVIRONMENT.ingest(Task.from_row(case["row"], "long_context_qa"))
    else:
        task = generated(**case["task_ref"])
    output = text_output(case["output"]) if isinstance(case["output"], str) else case["output"]
    grade = ENVIRONMENT.verify_published if case.get("grading") == "published" else ENVIRONMENT.verify
    verdict = grade(task, Session("s", task), read_reply(output))
    if not case.get("judged"):  # the others are asked by the quality gate, with the recorded judge
        assert verdict.reward == pytest.approx(case["reward"]), verdict.details
    else:
        assert verdict.reward == 0.0


def test_all_kinds_are_covered():
    kinds = Counter(case["kind"] for case in CASES)
    assert set(kinds) == {"full", "zero", "malformed", "hacked"}
    assert kinds["hacked"] >= 100
    families = {generated(**case["task_ref"])["family"] for case in CASES if "task_ref" in case}
    assert len(families) >= 25
