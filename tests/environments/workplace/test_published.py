"""The public verdict, with the quirks that were measured on it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from environments.workplace.company import world
from environments.workplace.published import same_state

W = world(0)
CRM = "customer_relationship_manager"
Calls = list[tuple[str, str]]


def call(name: str, **arguments: Any) -> tuple[str, str]:
    return name, json.dumps(arguments)


def mail(subject: str, body: str = "B") -> tuple[str, str]:
    return call("email_send_email", recipient="a@b.c", subject=subject, body=body)


def event(start: str = "2023-12-01 10:00:00", duration: Any = "30", name: str = "E") -> tuple[str, str]:
    return call("calendar_create_event", event_name=name, participant_email="a@b.c", event_start=start,
                duration=duration)  # fmt: skip


DELETE = call("email_delete_email", email_id="00000003")
FIRST_EVENT = W.tables["events"][0]

SAME: list[tuple[Calls, Calls]] = [
    ([], []),
    ([mail("S", "HELLO")], [mail("s", "hello")]),
    ([mail("S"), call("email_delete_email", email_id="500")], []),
    ([call("calendar_update_event", event_id=FIRST_EVENT[0], field="event_name", new_value=FIRST_EVENT[1])], []),
    ([call("no_such_tool"), ("email_delete_email", "not json"), ("email_delete_email", "[1]"), mail("S")], [mail("S")]),
    ([call("email_search_emails", query="(a+)+$"), DELETE], [DELETE]),
    ([event(duration=30)], [event(duration=45)]),  # a value that is no text is missing, and missing equals missing
    ([event(name="A"), event(name="B"), call("calendar_delete_event", event_id="00000300")],
     [event(name="X"), event(name="B"), call("calendar_delete_event", event_id="00000300")]),
    ([DELETE, call("email_delete_email", email_id="00000007")],
     [call("email_delete_email", email_id="00000007"), DELETE]),
]  # fmt: skip

DIFFERENT: list[tuple[Calls, Calls]] = [
    ([mail("S")], []),
    ([mail("S"), mail("T")], [mail("T"), mail("S")]),
    ([mail("S"), mail("S")], [mail("S")]),
    ([event("2023-12-01T10:00:00")], [event("2023-12-01 10:00:00")]),
    ([event(duration=30)], [event(duration="30")]),
    ([DELETE, mail("S")], [mail("S"), DELETE]),  # sending renumbers the rows, deleting does not
    ([call(f"{CRM}_add_customer", customer_name="C", assigned_to_email="a", status="won")],
     [call(f"{CRM}_add_customer", customer_name="C", assigned_to_email="a", status="Won")]),
    ([call(f"{CRM}_update_customer", customer_id="00000001", field="customer_id", new_value="x")], []),
    ([call(f"{CRM}_add_customer", customer_name="C", assigned_to_email="a", status="Won", notes=None)],
     [call(f"{CRM}_add_customer", customer_name="C", assigned_to_email="a", status="Won")]),
]  # fmt: skip


@pytest.mark.parametrize(("ours", "theirs"), SAME)
def test_these_are_the_same(ours: Calls, theirs: Calls) -> None:
    assert same_state(W, ours, theirs)
    assert same_state(W, theirs, ours)


@pytest.mark.parametrize(("ours", "theirs"), DIFFERENT)
def test_these_differ(ours: Calls, theirs: Calls) -> None:
    assert not same_state(W, ours, theirs)
    assert not same_state(W, theirs, ours)


def test_an_event_appended_after_a_deletion_keeps_its_label() -> None:
    gone = call("calendar_delete_event", event_id=FIRST_EVENT[0])
    assert same_state(W, [gone, event()], [event(), gone])
