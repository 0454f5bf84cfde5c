"""The five databases: columns and their order are the published ones, their schema as plain SQL.

Every column keeps the JSON type it was given (no affinity): the public verifier tells 30 from "30". `position` is the
order of rows; in a session's overlay `gone` tells what became of the row (`desk.py`). The same tables as SQLAlchemy
models are in `models.py`; a test holds the two equal, so that the service need not load 14 MB to say `CREATE TABLE`.
"""

from __future__ import annotations

from typing import Final

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

_KEPT: Final = "BLOB"
"""No affinity: a value keeps the type it came with."""


def base_schema() -> list[str]:
    """Statements that make the world which sessions share: tables, and an index on each id."""
    tables = [_table(name, "position INTEGER NOT NULL PRIMARY KEY") for name in COLUMNS]
    return tables + [f'CREATE INDEX ix_{name}_{key} ON {name} ("{key}")' for name, key in KEY.items()]


def overlay_schema() -> list[str]:
    """Statements that make what one session changed: changed rows whole, deleted rows as marks, new rows behind."""
    return [_table(name, "position INTEGER NOT NULL PRIMARY KEY, gone INTEGER NOT NULL") for name in MUTABLE]


def _table(name: str, first: str) -> str:
    columns = ", ".join(f'"{column}" {_KEPT}' for column in COLUMNS[name])
    return f"CREATE TABLE {name} ({first}, {columns})"
