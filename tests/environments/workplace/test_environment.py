"""The environment as a session meets it: what the policy reads, what is refused, what is released."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

import pytest

from environments.workplace.environment import Workplace
from gym_core.contracts import Task, TaskRef
from gym_core.environment import Call, Script, Session
from gym_core.generate import make_task
from gym_core.play import play_script
from gym_core.reply import Reply

ENVIRONMENT = Workplace()


def by_hand(**fields: Any) -> Task:
    truth = [{"name": "email_delete_email", "arguments": '{"email_id": "00000003"}'}]
    made = {"responses_create_params": {"input": "Delete email 00000003."}, "company": 0, "ground_truth": truth}
    return ENVIRONMENT.ingest(Task.from_row({**made, **fields}, "workplace"))


async def answers(task: Task, *calls: Call) -> list[str]:
    items, _ = await play_script(ENVIRONMENT, task, Script(calls, "Done."))
    return [item["output"] for item in items if item.get("type") == "function_call_output"]


async def test_the_policy_reads_what_the_public_server_sends() -> None:
    said = await answers(
        by_hand(),
        Call("email_delete_email", {"email_id": "00000003"}),
        Call("email_delete_email", {"email_id": "00000003"}),
        Call("email_get_email_information_by_id", {"email_id": "00000004", "field": "inbox/outbox"}),
        Call("email_search_emails", {"query": None, "page": "two"}),
        Call("project_management_delete_task"),
    )
    assert said[:3] == [
        '{"output":"Email deleted successfully."}',
        '{"output":"Email not found."}',
        '{"output":{"inbox/outbox":"inbox"}}',
    ]
    assert json.loads(said[3])["output"].startswith("Error searching emails: ")
    assert said[4] == '{"output":"Task ID not provided."}'


async def test_unknown_arguments_and_tools_are_refused_and_change_nothing() -> None:
    task = by_hand()
    script = Script(
        (
            Call("email_delete_email", {"email_id": "00000005", "sure": True}),
            Call("drop_all_tables"),
            Call("verify", {"reward": 1}),
            Call("email_delete_email", {"email_id": "00000003"}),
        ),
        "Done.",
    )
    items, verdict = await play_script(ENVIRONMENT, task, script)
    outputs = [item["output"] for item in items if item.get("type") == "function_call_output"]
    assert "unknown field `sure`" in outputs[0]
    assert "no tool is called 'verify'" in outputs[2]
    assert verdict is not None and verdict.reward == 1.0


async def test_a_tool_that_a_task_does_not_declare_is_out_of_reach() -> None:
    task = make_task(ENVIRONMENT, TaskRef(seed=1, level=0, index=0, split="train"))
    (said,) = await answers(task, Call("company_directory_find_email_address", {"name": "a"}))
    assert "no tool is called" in said


async def test_a_row_that_wants_nothing_has_an_oracle_and_no_idle_pay() -> None:
    task = by_hand(ground_truth=[])
    _, verdict = await play_script(ENVIRONMENT, task)
    assert verdict is not None and verdict.gradings == {"strict": 1.0, "published": 1.0}
    _, idle = await play_script(ENVIRONMENT, task, "Nothing to do.")
    assert idle is not None and idle.gradings == {"strict": 0.0, "published": 1.0}


async def test_an_expected_answer_is_wanted_beside_the_changes() -> None:
    task = by_hand(expected_answer="It is gone")
    _, verdict = await play_script(ENVIRONMENT, task)
    assert verdict is not None and verdict.reward == 1.0
    _, silent = await play_script(ENVIRONMENT, task, Script((Call("email_delete_email", {"email_id": "00000003"}),)))
    assert silent is not None and silent.gradings == {"strict": 0.0, "published": 1.0}


def test_a_closed_session_has_let_go_of_its_database() -> None:
    task = by_hand()
    session = Session("s", task, ENVIRONMENT.setup(task))
    ENVIRONMENT.close(session)
    with pytest.raises(sqlite3.ProgrammingError):
        session.state.rows("emails")


def test_a_verdict_without_a_session_is_one_on_an_untouched_world() -> None:
    task = by_hand()
    assert ENVIRONMENT.verify(task, Session("", task), Reply(text="Done.")).reward == 0.0


def test_a_verdict_does_not_change_the_session() -> None:
    task = by_hand()
    session = Session("s", task, ENVIRONMENT.setup(task))
    ENVIRONMENT.email_delete_email(session=session, email_id="00000003")  # type: ignore[attr-defined]
    verdicts = [ENVIRONMENT.verify(task, session, Reply(text="Done.")) for _ in range(2)]
    assert verdicts[0] == verdicts[1]
    assert verdicts[0].reward == 1.0
    ENVIRONMENT.close(session)
