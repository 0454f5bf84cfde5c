"""Invariants of the seeded worlds."""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from datetime import datetime, timedelta

import pytest

from environments.workplace.company import BOARDS, COMPANIES, LISTS, PRODUCTS, SOURCES, STATUSES, company
from environments.workplace.tables import CUSTOMERS, EMAILS, EVENTS, TASKS, VISITS

each = pytest.mark.parametrize("number", range(COMPANIES))


@each
def test_ids_are_eight_digits_and_unique(number: int) -> None:
    tables = company(number).tables
    for name, count in ((EMAILS, 500), (EVENTS, 300), (TASKS, 300), (CUSTOMERS, 200)):
        ids = {row[0] for row in tables[name]}
        assert ids == {f"{key:08d}" for key in range(count)}
    assert all(re.fullmatch(r"\d{4}", row[1]) for row in tables[VISITS])


@each
def test_values_are_the_published_ones(number: int) -> None:
    tables = company(number).tables
    assert {row[3] for row in tables[TASKS]} == set(LISTS)
    assert {row[5] for row in tables[TASKS]} == set(BOARDS)
    assert {row[6] for row in tables[CUSTOMERS]} == set(PRODUCTS)
    assert {row[7] for row in tables[CUSTOMERS]} == set(STATUSES)
    assert {row[4] for row in tables[VISITS]} == set(SOURCES)
    assert {row[4] for row in tables[EVENTS]} == {"30", "60", "90", "120"}
    assert {row[1] for row in tables[EMAILS]} == {"inbox"}


@each
def test_people_are_known_and_some_share_a_first_name(number: int) -> None:
    made = company(number)
    addresses = {person.email for person in made.people}
    assert len(addresses) == 19
    assert sorted(Counter(person.first for person in made.people).values())[-3:] == [1, 2, 2]
    assert {row[2] for row in made.tables[EMAILS]} == addresses
    assert {row[2] for row in made.tables[TASKS]} == {person.email for person in made.team}
    assert {row[1] for row in made.tables[CUSTOMERS]} == {person.email for person in made.sellers}
    assert sum(person.alone for person in made.sellers) >= 2


@each
def test_events_never_overlap_and_stay_in_working_hours(number: int) -> None:
    days = defaultdict(list)
    for row in company(number).tables[EVENTS]:
        start = datetime.fromisoformat(row[3])
        end = start + timedelta(minutes=int(row[4]))
        assert start.weekday() < 5 and start.hour >= 9
        assert end <= start.replace(hour=18, minute=0)
        days[start.date()].append((start, end))
    for spans in days.values():
        assert all(a[1] <= b[0] for a, b in itertools.pairwise(spans))


@each
def test_times_of_mails_are_unique_and_in_the_past(number: int) -> None:
    times = [row[4] for row in company(number).tables[EMAILS]]
    assert times == sorted(set(times))
    assert times[-1] < "2023-11-30 23:59:00"


def test_companies_differ_and_are_always_the_same() -> None:
    assert len({company(number).domain for number in range(COMPANIES)}) == COMPANIES
    assert company(0).tables != company(1).tables
    first = company(0).tables
    company.cache_clear()
    assert company(0).tables == first
