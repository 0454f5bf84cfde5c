"""Rows written by hand: what they mean, and one clear refusal for each mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from environments.ledger.environment import Ledger
from gym_core.contracts import Task
from gym_core.environment import Call, Script, Session
from gym_core.errors import BadRow
from gym_core.reply import read_reply, text_output

ENVIRONMENT = Ledger()
WORLD = {"accounts": [{"id": "A1", "owner": "Ana", "balance": 10}, {"id": "B1", "owner": "Bo"}]}


def row(**fields: Any) -> dict[str, Any]:
    given = {
        "responses_create_params": {"input": "Move 3 from Ana to Bo."},
        "world": WORLD,
        "expected": {"accounts": {"A1": {"balance": 7}, "B1": {"balance": 3}}},
        **fields,
    }
    return {key: value for key, value in given.items() if value is not None}


def ingest(given: dict[str, Any]) -> Task:
    return ENVIRONMENT.ingest(Task.from_row(given, ENVIRONMENT.name))


def test_a_row_without_tools_gets_all_and_is_otherwise_echoed() -> None:
    task = ingest(row(note="kept"))
    assert [tool["name"] for tool in task.tools] == list(ENVIRONMENT.tool_specs())
    assert task.to_row()["note"] == "kept"
    assert "books" not in task.to_row()


def test_a_row_may_declare_fewer_tools() -> None:
    declared = [ENVIRONMENT.tool_specs()["deposit"].declaration()]
    task = ingest(row(responses_create_params={"input": "x", "tools": declared}))
    assert task.tools == declared


def test_a_row_may_bring_the_calls_that_solve_it() -> None:
    calls = [{"name": "transfer", "arguments": {"source": "A1", "target": "B1", "amount": 3}}]
    task = ingest(row(calls=calls))
    assert ENVIRONMENT.oracle(task) == Script((Call("transfer", calls[0]["arguments"]),), "done")
    with pytest.raises(BadRow, match="calls"):
        ENVIRONMENT.oracle(ingest(row()))


def test_accounts_not_named_must_stay() -> None:
    task = ingest(row(expected={"accounts": {"A1": {"frozen": True}}}))
    session = Session("s", task, ENVIRONMENT.setup(task))
    ENVIRONMENT.freeze_account(session, "A1")
    assert ENVIRONMENT.verify(task, session, read_reply(text_output("done"))).reward == 1.0
    ENVIRONMENT.deposit(session, "B1", 1)
    assert ENVIRONMENT.verify(task, session, read_reply(text_output("done"))).reward == 0.0


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"world": None}, "world"),
        ({"expected": None}, "expected"),
        ({"world": "A1"}, "world"),
        ({"world": {"accounts": []}}, "world.accounts"),
        ({"world": {"accounts": [{"id": "A1"}]}}, "world.accounts[0]"),
        ({"world": {"accounts": [{"id": "A1", "owner": "Ana", "balance": "9"}]}}, "world.accounts[0].balance"),
        ({"world": {"accounts": [{"id": "A1", "owner": "Ana", "balance": -1}]}}, "world.accounts[0].balance"),
        ({"world": {"accounts": [{"id": "A1", "owner": " "}]}}, "world.accounts[0].owner"),
        ({"world": {"accounts": [{"id": " ", "owner": "Ana"}]}}, "world.accounts[0].id"),
        ({"world": {"accounts": [*WORLD["accounts"], {"id": "A1", "owner": "Cy"}]}}, "world.accounts[2].id"),
        ({"world": {"accounts": [{"id": "A1", "owner": "Ana", "colour": "red"}]}}, "world.accounts[0]"),
        ({"expected": {}}, "expected"),
        ({"expected": {"accounts": {"A1": {"balance": 10}}}}, "expected"),
        ({"expected": {"accounts": {"Z9": {"balance": 1}}}}, "expected.accounts.Z9"),
        ({"expected": {"accounts": {"A1": {"balance": -1}}}}, "expected.accounts.A1.balance"),
        ({"expected": {"answer": "7"}}, "expected.answer"),
        ({"calls": "transfer"}, "calls"),
        ({"calls": [{"arguments": {}}]}, "calls[0]"),
        ({"responses_create_params": {"input": "x", "tools": [{"name": "rob"}]}},
         "responses_create_params.tools[0].name"),
        ({"responses_create_params": {"input": "x", "tools": {"a": 1}}}, "responses_create_params.tools"),
    ],
)  # fmt: skip
def test_a_mistake_is_refused_with_its_place(fields: dict[str, Any], field: str) -> None:
    given = row()
    given.update(fields)
    with pytest.raises(BadRow) as caught:
        ingest({key: value for key, value in given.items() if value is not None})
    assert caught.value.field == field


def test_published_rows_of_other_environments_are_refused(published_rows: Path) -> None:
    for line in (published_rows / "workplace_assistant.jsonl").read_text().splitlines():
        with pytest.raises(BadRow, match="world"):
            ingest(json.loads(line))
