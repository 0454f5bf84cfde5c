"""What a task's logic may ask about a world. Two independent routes to each answer: over rows, and in SQL.

Tasks are made with `RowFacts`; the tests make every one again with `SqlFacts`, and both must name the same calls and
the same answer. All answers are lists of rows in a stated order, or numbers by day.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Callable
from typing import Any, Protocol

from environments.workplace.company import TODAY, Company, world
from environments.workplace.desk import Row
from environments.workplace.tables import COLUMNS, CUSTOMERS, EMAILS, EVENTS, TASKS, VISITS

METRICS = ("total_visits", "session_duration_seconds", "user_engaged")


class Facts(Protocol):
    """Questions; an argument left at None does not restrict."""

    def mails(self, *, sender: str | None = None, subject: str | None = None, since: str | None = None) -> list[Row]:
        """Mails, newest first. `since` is a day, included."""

    def events(self, *, email: str | None = None, name: str | None = None, low: str = "", high: str = "~") -> list[Row]:
        """Events, earliest first, whose start lies between two texts."""

    def tasks(self, *, email: str | None = None, where: str | None = None, board: str | None = None) -> list[Row]:
        """Tasks, in the order of the board."""

    def late(self, email: str) -> list[Row]:
        """Tasks of a person that are due before today and not completed."""

    def customers(
        self,
        *,
        seller: str | None = None,
        status: str | None = None,
        product: str | None = None,
        silent_since: str | None = None,
    ) -> list[Row]:
        """Customers, in the order of the table. `silent_since`: last contact before that day."""

    def by_day(self, metric: str, since: str) -> dict[str, float]:
        """A metric by day, from a day on, days in order."""


class RowFacts:
    """Answers by going over rows."""

    def __init__(self, company: Company) -> None:
        self._tables = {
            name: [dict(zip(COLUMNS[name], row, strict=True)) for row in rows] for name, rows in company.tables.items()
        }

    def mails(self, *, sender: str | None = None, subject: str | None = None, since: str | None = None) -> list[Row]:
        def fits(row: Row) -> bool:
            return (
                (sender is None or row["sender/recipient"] == sender)
                and (subject is None or row["subject"] == subject)
                and (since is None or row["sent_datetime"][:10] >= since)
            )

        return sorted(filter(fits, self._tables[EMAILS]), key=lambda row: row["sent_datetime"], reverse=True)

    def events(self, *, email: str | None = None, name: str | None = None, low: str = "", high: str = "~") -> list[Row]:
        return [
            row
            for row in self._tables[EVENTS]
            if (email is None or row["participant_email"] == email)
            and (name is None or row["event_name"] == name)
            and low <= row["event_start"] <= high
        ]

    def tasks(self, *, email: str | None = None, where: str | None = None, board: str | None = None) -> list[Row]:
        wanted = {"assigned_to_email": email, "list_name": where, "board": board}
        return self._equal(TASKS, wanted)

    def late(self, email: str) -> list[Row]:
        mine = self._equal(TASKS, {"assigned_to_email": email})
        return [row for row in mine if row["due_date"] < str(TODAY) and row["list_name"] != "Completed"]

    def customers(
        self,
        *,
        seller: str | None = None,
        status: str | None = None,
        product: str | None = None,
        silent_since: str | None = None,
    ) -> list[Row]:
        found = self._equal(CUSTOMERS, {"assigned_to_email": seller, "status": status, "product_interest": product})
        return [row for row in found if silent_since is None or row["last_contact_date"] < silent_since]

    def by_day(self, metric: str, since: str) -> dict[str, float]:
        days: dict[str, list[float]] = defaultdict(list)
        for row in self._tables[VISITS]:
            if row["date_of_visit"] >= since:
                days[row["date_of_visit"]].append(_measure(metric, row))
        total: Callable[[list[float]], float] = _mean if metric == "session_duration_seconds" else sum
        return {day: total(values) for day, values in sorted(days.items())}

    def _equal(self, table: str, wanted: dict[str, str | None]) -> list[Row]:
        asked = [(field, value) for field, value in wanted.items() if value is not None]
        return [row for row in self._tables[table] if all(row[field] == value for field, value in asked)]


def _measure(metric: str, row: Row) -> float:
    if metric == "total_visits":
        return 1
    return float(row[metric]) if metric == "session_duration_seconds" else int(row[metric])


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


class SqlFacts:
    """The same answers from the base database."""

    def __init__(self, company: Company) -> None:
        self._db = sqlite3.connect(world(company.number).uri, uri=True)

    def close(self) -> None:
        self._db.close()

    def mails(self, *, sender: str | None = None, subject: str | None = None, since: str | None = None) -> list[Row]:
        rule = (
            '(?1 IS NULL OR "sender/recipient" = ?1) AND (?2 IS NULL OR subject = ?2) '
            "AND (?3 IS NULL OR date(sent_datetime) >= ?3) ORDER BY sent_datetime DESC"
        )
        return self._rows(EMAILS, rule, sender, subject, since)

    def events(self, *, email: str | None = None, name: str | None = None, low: str = "", high: str = "~") -> list[Row]:
        rule = (
            "(?1 IS NULL OR participant_email = ?1) AND (?2 IS NULL OR event_name = ?2) "
            "AND event_start BETWEEN ?3 AND ?4 ORDER BY event_start"
        )
        return self._rows(EVENTS, rule, email, name, low, high)

    def tasks(self, *, email: str | None = None, where: str | None = None, board: str | None = None) -> list[Row]:
        rule = (
            "(?1 IS NULL OR assigned_to_email = ?1) AND (?2 IS NULL OR list_name = ?2) AND (?3 IS NULL OR board = ?3) "
            "ORDER BY position"
        )
        return self._rows(TASKS, rule, email, where, board)

    def late(self, email: str) -> list[Row]:
        rule = (
            "assigned_to_email = ? AND julianday(due_date) < julianday(?) AND list_name <> 'Completed' "
            "ORDER BY position"
        )
        return self._rows(TASKS, rule, email, str(TODAY))

    def customers(
        self,
        *,
        seller: str | None = None,
        status: str | None = None,
        product: str | None = None,
        silent_since: str | None = None,
    ) -> list[Row]:
        rule = (
            "(?1 IS NULL OR assigned_to_email = ?1) AND (?2 IS NULL OR status = ?2) "
            "AND (?3 IS NULL OR product_interest = ?3) AND (?4 IS NULL OR date(last_contact_date) < ?4) "
            "ORDER BY position"
        )
        return self._rows(CUSTOMERS, rule, seller, status, product, silent_since)

    def by_day(self, metric: str, since: str) -> dict[str, float]:
        value = {
            "total_visits": "count(*)",
            "user_engaged": "sum(user_engaged)",
            "session_duration_seconds": "avg(CAST(session_duration_seconds AS REAL))",
        }[metric]
        found = self._db.execute(
            f"SELECT date_of_visit, {value} FROM visits WHERE date_of_visit >= ? GROUP BY 1 ORDER BY 1", (since,)
        )
        return dict(found)

    def _rows(self, table: str, rule: str, *values: Any) -> list[Row]:
        names = ", ".join(f'"{column}"' for column in COLUMNS[table])
        found = self._db.execute(f"SELECT {names} FROM {table} WHERE {rule}", values)
        return [dict(zip(COLUMNS[table], row, strict=True)) for row in found]
