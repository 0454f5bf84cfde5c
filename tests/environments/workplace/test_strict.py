"""The strict verdict: final changes of the live session as sets and multisets, collateral and detours counted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from environments.workplace.changes import changes_of
from environments.workplace.company import world
from environments.workplace.desk import Desk
from environments.workplace.replay import replayed
from environments.workplace.strict import judge, plain
from environments.workplace.toolbox import run
from gym_core.contracts import Verdict
from gym_core.reply import Reply

CRM = "customer_relationship_manager"
Calls = list[tuple[str, dict[str, Any]]]
MAIL = ("email_send_email", {"recipient": "a@b.c", "subject": "S", "body": "B"})
OTHER = ("email_send_email", {"recipient": "a@b.c", "subject": "T", "body": "B"})
EVENT = (
    "calendar_create_event",
    {"event_name": "E", "participant_email": "a@b.c", "event_start": "2023-12-01 10:00:00", "duration": "30"},
)
PLOT = (
    "analytics_create_plot",
    {"time_min": "2023-11-01", "time_max": "2023-11-30", "value_to_plot": "user_engaged", "plot_type": "bar"},
)


def changed(call: tuple[str, dict[str, Any]], **arguments: Any) -> tuple[str, dict[str, Any]]:
    return call[0], {**call[1], **arguments}


def update(customer: str, value: str, field: str = "customer_name") -> tuple[str, dict[str, Any]]:
    return f"{CRM}_update_customer", {"customer_id": customer, "field": field, "new_value": value}


def verdict(calls: Calls, truth: Calls, reply: str = "Done.", answer: str | None = None) -> Verdict:
    live = Desk(world(0))
    for name, arguments in calls:
        run(live, name, arguments)
    wanted = replayed(world(0), [(name, json.dumps(arguments)) for name, arguments in truth], fixed_keys=True)
    try:
        return judge(live, changes_of(wanted), answer, Reply(text=reply))
    finally:
        live.close()
        wanted.close()


def old_name(customer: str) -> str:
    return next(row[2] for row in world(0).tables["customers"] if row[0] == customer)


PAID: list[tuple[Calls, Calls]] = [
    ([MAIL, OTHER], [OTHER, MAIL]),
    ([changed(MAIL, body=" b "), EVENT], [EVENT, MAIL]),
    ([changed(EVENT, event_start="2023-12-01T10:00:00", duration=30)], [EVENT]),
    ([changed(EVENT, event_start="December 1, 2023 10:00")], [EVENT]),
    ([changed(PLOT, time_min="2023-11-01 00:00:00")], [PLOT]),
    ([("email_delete_email", {"email_id": "nope"}), MAIL], [MAIL]),
    (
        [MAIL, ("email_delete_email", {"email_id": "00000003"})],
        [("email_delete_email", {"email_id": "00000003"}), MAIL],
    ),
]
UNPAID: list[tuple[Calls, Calls]] = [
    ([], [MAIL]),
    ([MAIL, MAIL], [MAIL]),
    ([MAIL], [MAIL, MAIL]),
    ([changed(MAIL, body="C")], [MAIL]),
    ([changed(EVENT, event_start="2023-12-01 10:30:00")], [EVENT]),
    ([changed(EVENT, duration="60")], [EVENT]),
    ([MAIL, EVENT], [MAIL]),
    ([MAIL, ("email_delete_email", {"email_id": "500"})], [MAIL]),
    ([OTHER, ("email_delete_email", {"email_id": "500"}), MAIL], [MAIL]),  # mail cannot be unsent
    ([changed(PLOT, time_min="2023-11-02")], [PLOT]),
    ([update("00000001", "won", "status")], [update("00000001", "Won", "status")]),
    ([("calendar_delete_event", {"event_id": "00000299"}), EVENT], [EVENT]),
]


@pytest.mark.parametrize(("calls", "truth"), PAID)
def test_these_earn_the_maximum(calls: Calls, truth: Calls) -> None:
    assert verdict(calls, truth).reward == 1.0


@pytest.mark.parametrize(("calls", "truth"), UNPAID)
def test_these_earn_nothing(calls: Calls, truth: Calls) -> None:
    found = verdict(calls, truth)
    assert found.reward == 0.0
    assert found.components["state"] == 0.0


def test_collateral_and_what_is_missing_are_counted() -> None:
    found = verdict([EVENT, update("00000002", "X"), ("email_delete_email", {"email_id": "00000003"})], [MAIL, OTHER])
    assert found.components["collateral"] == 3.0
    assert found.components["missing"] == 2.0


def test_damage_that_was_undone_is_paid_and_counted() -> None:
    there = update("00000002", "X")
    back = update("00000002", old_name("00000002"))
    found = verdict([there, back, MAIL], [MAIL])
    assert found.reward == 1.0
    assert found.components["undone"] == 1.0
    taken_back = [EVENT, ("calendar_delete_event", {"event_id": "00000300"}), MAIL]
    assert verdict(taken_back, [MAIL]).components["undone"] == 1.0
    assert verdict([MAIL], [MAIL]).components["undone"] == 0.0


def test_an_answer_is_the_whole_reply() -> None:
    asked = {"calls": [], "truth": [], "answer": "2023-12-01 09:00:00"}
    for reply in ("2023-12-01 09:00:00", " `2023-12-01  09:00:00`.", "**2023-12-01 09:00:00**"):
        assert verdict(**asked, reply=reply).reward == 1.0
    for reply in ("", "2023-12-01 09:00:00 or 10:00:00", "It is 2023-12-01 09:00:00", "2023-12-01 09:30:00"):
        assert verdict(**asked, reply=reply).reward == 0.0
    assert verdict([MAIL], [], "2023-12-01 09:00:00", "2023-12-01 09:00:00").reward == 0.0


def test_where_nothing_is_wanted_somebody_has_to_look() -> None:
    look = ("email_search_emails", {"query": "a"})
    assert verdict([], []).reward == 0.0
    assert verdict([("calendar_search_events", {"time_min": "soon"})], []).reward == 0.0
    assert verdict([("email_search_emails", {"query": "xyzzy"})], []).reward == 1.0  # that there is none, too
    assert verdict([look], [], "").reward == 0.0
    assert verdict([look], []).reward == 1.0


def test_a_very_long_reply_is_no_answer() -> None:
    assert plain("x" * 501) != plain("x" * 501).strip("\0")


def test_changes_of_an_untouched_desk_are_empty() -> None:
    desk = Desk(world(0))
    assert changes_of(desk).empty
    run(desk, *MAIL)
    assert not changes_of(desk).empty
    desk.close()
