"""The 27 tools: names, arguments, and the texts that a policy reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from environments.workplace.company import world
from environments.workplace.desk import Desk
from environments.workplace.toolbox import NOTHING, READ_ONLY, TOOLS, run, specs

PM, CRM = "project_management", "customer_relationship_manager"


@pytest.fixture
def desk() -> Iterator[Desk]:
    desk = Desk(world(0))
    yield desk
    desk.close()


def test_there_are_27_tools_of_which_14_write() -> None:
    assert len(TOOLS) == 27
    assert len(TOOLS.keys() - READ_ONLY) == 14


def test_declarations_are_those_of_the_published_rows(published_rows: Any) -> None:
    line = (published_rows / "workplace_assistant.jsonl").read_text().splitlines()[0]
    theirs = {tool["name"]: tool["parameters"] for tool in json.loads(line)["responses_create_params"]["tools"]}
    ours = {name: spec.declaration()["parameters"] for name, spec in specs().items()}
    assert list(ours) == list(theirs)
    for name, schema in theirs.items():
        assert set(ours[name]["required"]) == set(schema["required"]), name
        kinds = {key: value["type"] for key, value in schema["properties"].items()}
        assert {key: value["type"] for key, value in ours[name]["properties"].items()} == kinds, name


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("email_delete_email", {}, "Email ID not provided."),
        ("email_delete_email", {"email_id": 57}, "Email not found."),
        ("email_send_email", {"recipient": "x", "subject": "s", "body": "b"}, "Invalid recipient email address."),
        ("email_send_email", {"recipient": "a@b.c", "subject": "s"}, "Recipient, subject, or body not provided."),
        ("email_search_emails", {"query": "xyzzy"}, "No emails found."),
        ("calendar_delete_event", {"event_id": "13"}, "Invalid event ID format. Expected 8-digit ID."),
        ("calendar_search_events", {"query": "xyzzy"}, "No events found."),
        (
            "calendar_search_events",
            {"time_min": "soon"},
            "Invalid time_min format. Expected YYYY-MM-DD HH:MM:SS.",
        ),
        ("analytics_get_visitor_information_by_id", {"visitor_id": "x"}, "Visitor not found."),
        (f"{PM}_search_tasks", {}, "No search parameters provided."),
        (f"{PM}_search_tasks", {"assigned_to_email": "x"}, "Invalid email format for assigned_to_email."),
        (f"{PM}_create_task", {"task_name": "T"}, "Missing task details."),
        (
            f"{CRM}_search_customers",
            {},
            "No search parameters provided. Please provide at least one parameter.",
        ),
        (f"{CRM}_update_customer", {"customer_id": "00000001", "field": "x"},
         "Customer ID, field, or new value not provided."),
        ("company_directory_find_email_address", {"name": ""}, "Name not provided."),
        ("calendar_search_events", {"page_size": 0},
         "Error executing tool 'calendar_search_events': integer division or modulo by zero"),
    ],
)  # fmt: skip
def test_refusals_are_the_published_texts(desk: Desk, name: str, arguments: dict[str, Any], text: str) -> None:
    assert run(desk, name, arguments) == text
    assert desk.writes == 0
    assert desk.lookups == (text in NOTHING)


def test_new_ids_follow_the_highest(desk: Desk) -> None:
    event = {"event_name": "E", "participant_email": "A@B.c", "event_start": "2023-12-01 10:00:00", "duration": "30"}
    assert run(desk, "calendar_create_event", event) == "00000300"
    assert run(
        desk, "calendar_get_event_information_by_id", {"event_id": "00000300", "field": "participant_email"}
    ) == {"participant_email": "a@b.c"}
    assert run(desk, "email_send_email", {"recipient": "A@b.c", "subject": "S", "body": "B"}) == (
        "Email sent successfully."
    )
    found = run(desk, "email_search_emails", {"query": "a@b.c"})
    assert found["emails"][0] | {"email_id": "500", "inbox/outbox": "outbox"} == found["emails"][0]
    assert found["emails"][0]["sent_datetime"] == "2023-11-30 23:59:00"


def test_forward_and_reply_are_mails(desk: Desk) -> None:
    mail = desk.rows("emails")[0]
    run(desk, "email_forward_email", {"email_id": mail["email_id"], "recipient": "x@y.z"})
    run(desk, "email_reply_email", {"email_id": mail["email_id"], "body": "Yes"})
    forwarded, replied = desk.rows("emails")[-2:]
    assert (forwarded["subject"], forwarded["body"]) == (f"FW: {mail['subject']}", mail["body"])
    assert (replied["subject"], replied["sender/recipient"]) == (f"RE: {mail['subject']}", mail["sender/recipient"])


def test_search_gives_pages_newest_first(desk: Desk) -> None:
    first = run(desk, "email_search_emails", {"page": 0})
    last = run(desk, "email_search_emails", {"page": 99999})
    assert first["pagination"] == {"total_emails": 500, "page": 1, "page_size": 5, "total_pages": 100}
    assert last["pagination"]["page"] == 100
    times = [mail["sent_datetime"] for mail in first["emails"]]
    assert times == sorted(times, reverse=True)
    assert times[0] > last["emails"][0]["sent_datetime"]


@pytest.mark.parametrize("query", ["(a+)+$", ".*", "[", "\\", "(?P<x>", "a" * 5000])
def test_a_query_is_never_a_regular_expression(desk: Desk, query: str) -> None:
    for name, key in (
        ("calendar_search_events", "query"),
        ("company_directory_find_email_address", "name"),
        (f"{PM}_search_tasks", "task_name"),
        (f"{CRM}_search_customers", "customer_name"),
        ("email_search_emails", "query"),
    ):
        result = run(desk, name, {key: query})
        assert not result or isinstance(result, str)


def test_search_takes_any_case_and_all_words(desk: Desk) -> None:
    mail = desk.rows("emails")[0]
    words = f"{mail['sender/recipient'].upper()} {mail['subject'].split()[-1].lower()}"
    found = run(desk, "email_search_emails", {"query": words, "page_size": 100})["emails"]
    assert mail["email_id"] in {one["email_id"] for one in found}


def test_counts_by_day_add_up(desk: Desk) -> None:
    visits = run(desk, "analytics_total_visits_count", {})
    assert sum(visits.values()) == 1000
    assert list(visits) == sorted(visits)
    parts = [
        run(desk, "analytics_traffic_source_count", {"traffic_source": source})
        for source in ("direct", "referral", "search engine", "social media")
    ]
    assert {day: sum(part[day] for part in parts) for day in visits} == visits
    one = run(desk, "analytics_total_visits_count", {"time_min": "2023-11-30", "time_max": "2023-11-30"})
    assert one == {"2023-11-30": visits["2023-11-30"]}
    assert all(1 <= mean <= 99 for mean in run(desk, "analytics_get_average_session_duration", {}).values())


def test_a_visitor_is_engaged_or_not(desk: Desk) -> None:
    key = desk.rows("visits")[0]["visitor_id"]
    assert run(desk, "analytics_get_visitor_information_by_id", {"visitor_id": key})[0]["user_engaged"] in (True, False)


def test_a_primary_key_changes_only_on_the_published_desk() -> None:
    change = {"customer_id": "00000001", "field": "customer_id", "new_value": "00009999"}
    ours, theirs = Desk(world(0)), Desk(world(0), fixed_keys=False)
    assert run(ours, f"{CRM}_update_customer", change).startswith("Field not valid.")
    assert run(theirs, f"{CRM}_update_customer", change) == "Customer updated successfully."
    assert run(theirs, f"{CRM}_add_customer", {"customer_name": "C", "assigned_to_email": "a", "status": "Lead"}) == (
        "00010000"
    )
    ours.close()
    theirs.close()


def test_null_arguments_count_as_left_out_in_a_live_call(desk: Desk) -> None:
    assert run(desk, "email_search_emails", {"query": None, "page": None})["pagination"]["total_emails"] == 500


def test_deleting_everybodys_tasks_leaves_no_team(desk: Desk) -> None:
    for task in desk.rows("tasks"):
        run(desk, f"{PM}_delete_task", {"task_id": task["task_id"]})
    new = {"task_name": "T", "assigned_to_email": "a@b.c", "list_name": "Backlog", "due_date": "x", "board": "Design"}
    assert run(desk, f"{PM}_create_task", new) == (
        "Assignee email not valid. Please choose from the list of team members."
    )
