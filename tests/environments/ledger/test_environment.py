"""Tools as the policy meets them: small declarations, validated arguments, refusals it can read."""

from __future__ import annotations

import pytest

from environments.ledger.environment import Ledger
from gym_core.contracts import Task, TaskRef
from gym_core.environment import Session, ToolFault
from gym_core.generate import make_task
from gym_core.reply import read_reply, text_output

ENVIRONMENT = Ledger()
SPECS = ENVIRONMENT.tool_specs()


def session(frozen: bool = False) -> Session:
    row = {
        "responses_create_params": {"input": "Give Ana 1."},
        "world": {
            "accounts": [
                {"id": "A1", "owner": "Ana", "balance": 10, "frozen": frozen},
                {"id": "A2", "owner": "Ana", "balance": 2},
            ]
        },
        "expected": {"accounts": {"A2": {"balance": 3}}},
    }
    task = ENVIRONMENT.ingest(Task.from_row(row, ENVIRONMENT.name))
    return Session("s", task, ENVIRONMENT.setup(task))


def test_tools_answer_in_few_words() -> None:
    state = session()
    assert ENVIRONMENT.find_account(state, "Ana") == "A1 A2"
    assert ENVIRONMENT.get_balance(state, "A1") == "10"
    assert ENVIRONMENT.deposit(state, "A1", 5) == "ok"
    assert ENVIRONMENT.withdraw(state, "A1", 5) == "ok"
    assert ENVIRONMENT.transfer(state, "A1", "A2", 1) == "ok"
    assert ENVIRONMENT.freeze_account(state, "A1") == "ok"
    assert ENVIRONMENT.get_balance(state, "A1") == "9 frozen"
    assert ENVIRONMENT.unfreeze_account(state, "A1") == "ok"


def test_a_stranger_is_not_found() -> None:
    with pytest.raises(ToolFault, match="no account of Zed"):
        ENVIRONMENT.find_account(session(), "Zed")


def test_a_long_name_is_not_echoed_in_full() -> None:
    with pytest.raises(ToolFault) as caught:
        ENVIRONMENT.find_account(session(), "x" * 1_000_000)
    assert len(str(caught.value)) < 80


@pytest.mark.parametrize(
    "arguments",
    [
        '{"account": "A1", "amount": true}',
        '{"account": "A1", "amount": NaN}',
        '{"account": "A1", "amount": 1.5}',
        '{"account": "A1", "amount": "1"}',
        '{"account": "A1", "amount": null}',
        '{"account": 1, "amount": 1}',
        '{"account": "A1"}',
        '{"account": "A1", "amount": 1, "session": "other"}',
        "[]",
        "",
        "{",
    ],
)
def test_arguments_that_do_not_fit_are_refused_before_the_tool_runs(arguments: str) -> None:
    with pytest.raises(ToolFault):
        SPECS["deposit"].parse(arguments)


def test_declarations_are_small_and_never_show_the_session() -> None:
    for spec in SPECS.values():
        declared = spec.declaration()
        assert "session" not in declared["parameters"]["properties"]
        assert len(declared["description"].split()) <= 5
        assert set(declared["parameters"]["required"]) == set(declared["parameters"]["properties"])


def test_sessions_of_one_task_do_not_share_books() -> None:
    task = make_task(ENVIRONMENT, TaskRef(seed=0, level=2, index=0))
    one, two = (Session(name, task, ENVIRONMENT.setup(task)) for name in "ab")
    account = next(iter(task["books"]))
    ENVIRONMENT.deposit(one, account, 5)
    assert two.state.accounts == task["books"]
    assert one.state.accounts != task["books"]


def test_a_session_that_was_never_set_up_is_an_idle_one() -> None:
    task = make_task(ENVIRONMENT, TaskRef(seed=0, level=0, index=0))
    assert ENVIRONMENT.verify(task, Session("s", task), read_reply(text_output("done"))).reward == 0.0


def test_the_environment_keeps_sessions() -> None:
    assert ENVIRONMENT.keeps_sessions()
