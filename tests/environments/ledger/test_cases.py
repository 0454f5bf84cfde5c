"""Every line of cases.jsonl gives the reward it states; its calls are played as the server would play them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import environments.ledger as package
from environments.ledger.environment import Ledger
from gym_core.contracts import Task, TaskRef
from gym_core.environment import Session, ToolFault
from gym_core.generate import make_task
from gym_core.reply import read_reply, text_output

CASES = [json.loads(line) for line in (Path(package.__file__).parent / "cases.jsonl").read_text().splitlines()]
ENVIRONMENT = Ledger()


def task_of(case: dict[str, Any]) -> Task:
    if "task_ref" in case:
        return make_task(ENVIRONMENT, TaskRef(**case["task_ref"]))
    return ENVIRONMENT.ingest(Task.from_row(case["row"], ENVIRONMENT.name))


@pytest.mark.parametrize("number", range(len(CASES)))
def test_case(number: int) -> None:
    case = CASES[number]
    task, output = task_of(case), case["output"]
    session = Session("s", task, ENVIRONMENT.setup(task))
    for call in case.get("calls", []):
        call_tool(ENVIRONMENT, session, call["name"], json.dumps(call["arguments"]))
    reply = read_reply(text_output(output) if isinstance(output, str) else output)
    assert ENVIRONMENT.verify(task, session, reply).reward == case["reward"], case


def call_tool(environment: Ledger, session: Session, name: str, arguments: str) -> str:
    """Declared tools only, arguments validated, a fault becomes text: what the environment service does."""
    if name not in {declared["name"] for declared in session.task.tools}:
        return f"no tool {name}"
    try:
        parsed = environment.tool_specs()[name].parse(arguments)
        return getattr(environment, name)(session=session, **parsed)
    except ToolFault as fault:
        return str(fault)


def test_there_are_cases_of_every_kind() -> None:
    kinds = Counter(case["kind"] for case in CASES)
    assert set(kinds) == {"full", "zero", "malformed", "hacked"}
    assert min(kinds.values()) >= 5
