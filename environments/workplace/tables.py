"""The five databases as SQLAlchemy models: columns and their order are the published ones.

Every column keeps the JSON type it was given (no affinity): the public verifier tells 30 from "30". `position` is the
order of rows; in a session's overlay `gone` tells what became of the row (`desk.py`).
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Column, Integer, MetaData, Table
from sqlalchemy.types import UserDefinedType


class Kept(UserDefinedType[Any]):
    """A value stored with the type it came with."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "BLOB"


EMAILS: Final = "emails"
EVENTS: Final = "events"
VISITS: Final = "visits"
PLOTS: Final = "plots"
TASKS: Final = "tasks"
CUSTOMERS: Final = "customers"

COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    EMAILS: ("email_id", "inbox/outbox", "sender/recipient", "subject", "sent_datetime", "body"),
    EVENTS: ("event_id", "event_name", "participant_email", "event_start", "duration"),
    VISITS: (
        "date_of_visit", "visitor_id", "page_views", "session_duration_seconds", "traffic_source", "user_engaged",
    ),
    PLOTS: ("file_path",),
    TASKS: ("task_id", "task_name", "assigned_to_email", "list_name", "due_date", "board"),
    CUSTOMERS: (
        "customer_id", "assigned_to_email", "customer_name", "customer_email", "customer_phone", "last_contact_date",
        "product_interest", "status", "follow_up_by", "notes",
    ),
}  # fmt: skip
"""Published columns by table."""

MUTABLE: Final = (EMAILS, EVENTS, PLOTS, TASKS, CUSTOMERS)
"""Tables that tools can change; the verdicts compare them."""

KEY: Final = {EMAILS: "email_id", EVENTS: "event_id", TASKS: "task_id", CUSTOMERS: "customer_id"}
"""The column that names a row; plots have none."""

EXACT_CASE: Final = frozenset({"status", "list_name", "board"})
"""Columns in which letter case counts, in both gradings."""

BASE: Final = MetaData()
"""The world that sessions share and nobody writes to."""

OVERLAY: Final = MetaData()
"""What one session changed: changed rows whole, deleted rows as marks, new rows behind the last position."""

for _name, _columns in COLUMNS.items():
    Table(
        _name,
        BASE,
        Column("position", Integer, primary_key=True),
        *(Column(c, Kept, index=c == KEY.get(_name)) for c in _columns),
    )
for _name in MUTABLE:
    Table(
        _name,
        OVERLAY,
        Column("position", Integer, primary_key=True),
        Column("gone", Integer, nullable=False, default=0),
        *(Column(c, Kept) for c in COLUMNS[_name]),
    )
