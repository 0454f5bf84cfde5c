"""Seeded companies: the world a task plays in, with the sizes, id formats, columns and enums of the published one.

A company is its number: 0 to COMPANIES - 1. Its domain stands in every prompt, so a prompt names its world. Built once
per process and shared by all sessions.

    19 people: 15 of them in projects, 5 others in sales (one of each is in both); two pairs share a first name
    500 mails, 300 events, 1000 visits, 300 tasks, 200 customers
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from environments.workplace.desk import Tables, World
from environments.workplace.tables import CUSTOMERS, EMAILS, EVENTS, PLOTS, TASKS, VISITS
from gym_core.seeds import rng as seeded

COMPANIES = 8
DOMAINS = (
    "norvik.com", "alderway.com", "brightmoor.com", "castellan.com",
    "dunmore.com", "eastbury.com", "fernhill.com", "galewood.com",
)  # fmt: skip
TODAY = date(2023, 11, 30)
NOW = "2023-11-30 23:59:00"
PEOPLE, TEAM, SELLERS = 19, 15, 5

_FIRST = (
    "Alma Boris Celia Darko Edith Farid Greta Henrik Ines Jonas Kamala Leon Mirja Nadim Olive Pablo Renata Simeon "
    "Thea Umar Vera Willem Ximena Yannick Zora Anton Bianca Cyril Dalia Emre"
)
_LAST = (
    "Abara Bergman Castro Dvorak Eklund Ferrari Grabowski Haddad Ivarsson Jensen Keller Lindqvist Moreno Novak "
    "Okoye Petrov Quiroga Rossi Sandoval Tamura Ulrich Vargas Winther Yilmaz Zeman"
)
_CLIENT_FIRST = "Amber Blake Corin Drew Ellis Frankie Gray Harley Indigo Jules Kit Lane Marley Nico Oakley Perry"
_CLIENT_LAST = "Adler Bishop Crane Dalton Ellery Foster Garner Holt Irwin Joyner Knight Lowell Mercer North"
_FIRMS = "apexfoods bluelineair cobaltlabs deltaworks emberlight foxglove granitebank harborsoft ionmotors junopharma"
FIRST, LAST = _FIRST.split(), _LAST.split()
CLIENT_FIRST, CLIENT_LAST, FIRMS = _CLIENT_FIRST.split(), _CLIENT_LAST.split(), _FIRMS.split()
VERBS = ("Add", "Fix", "Refactor", "Test", "Document", "Redesign", "Remove", "Speed up")
THINGS = (
    "login page", "search bar", "payment gateway", "user profile", "report export", "sign-up form", "image carousel",
    "mobile menu", "password reset", "invoice archive",
)  # fmt: skip
MEETINGS = (
    "Budget Review", "Sprint Planning", "Design Critique", "Vendor Call", "Quarterly Forecast", "Hiring Sync",
    "Release Retrospective", "Roadmap Workshop", "Security Briefing", "Customer Panel", "Data Review", "Team Lunch",
)  # fmt: skip
BOARDS = ("Back end", "Front end", "Design")
LISTS = ("Backlog", "In Progress", "In Review", "Completed")
STATUSES = ("Qualified", "Won", "Lost", "Lead", "Proposal")
PRODUCTS = ("Software", "Hardware", "Services", "Consulting", "Training")
SOURCES = ("direct", "referral", "search engine", "social media")
CONTACTS = ("Had a call", "Saw the demo", "Met in person", "Sent an offer")
MAIL_WORDS = (
    "The work on {x} is done, please have a look.", "There is a delay with {x}, I need your advice.",
    "Could we talk about {x} this week?", "I have started on {x} and will report soon.",
    "Many thanks for your help with {x}.",
)  # fmt: skip


@dataclass(slots=True, frozen=True)
class Person:
    """Someone of the company. `alone`: nobody else has this first name."""

    first: str
    last: str
    email: str
    alone: bool


@dataclass(slots=True, frozen=True)
class Company:
    """A world and who works there."""

    number: int
    domain: str
    people: tuple[Person, ...]
    team: tuple[Person, ...]
    sellers: tuple[Person, ...]
    tables: Tables


@cache
def company(number: int) -> Company:
    """The company of this number, always the same."""
    draw = seeded("workplace", "company", number)
    people = _people(draw, DOMAINS[number])
    team, sellers = people[:TEAM], people[TEAM - 1 : TEAM - 1 + SELLERS]
    tables: Tables = {
        EMAILS: _emails(draw, people),
        EVENTS: _events(draw, people),
        VISITS: _visits(draw),
        PLOTS: [],
        TASKS: _tasks(draw, team),
        CUSTOMERS: _customers(draw, sellers),
    }
    return Company(number, DOMAINS[number], people, team, sellers, tables)


@cache
def world(number: int) -> World:
    """The base database of a company."""
    made = company(number)
    return World(sorted(person.email for person in made.people), made.tables)


def _people(draw: random.Random, domain: str) -> tuple[Person, ...]:
    firsts = draw.sample(FIRST, PEOPLE - 2)
    firsts += firsts[:2]  # two first names are shared
    lasts = draw.sample(LAST, PEOPLE)
    pairs = list(zip(firsts, lasts, strict=True))
    draw.shuffle(pairs)
    return tuple(
        Person(first, last, f"{first}.{last}@{domain}".lower(), firsts.count(first) == 1) for first, last in pairs
    )


def _ids(draw: random.Random, count: int) -> list[str]:
    return [f"{number:08d}" for number in draw.sample(range(count), count)]


def _emails(draw: random.Random, people: tuple[Person, ...]) -> list[tuple[Any, ...]]:
    times = sorted(
        draw.sample(range(61 * 8 * 3600), 500)  # two months of working hours, second by second
    )
    rows = []
    for key, second in zip(_ids(draw, 500), times, strict=True):
        person = draw.choice(people)
        day, rest = divmod(second, 8 * 3600)
        sent = datetime(2023, 10, 1, 9) + timedelta(days=day, seconds=rest)
        topic = draw.choice((draw.choice(MEETINGS), f"{draw.choice(VERBS)} {draw.choice(THINGS)}"))
        body = f"Hi Robin,\n\n{draw.choice(MAIL_WORDS).format(x=topic)}\n\nBest,\n{person.first}"
        rows.append((key, "inbox", person.email, f"Update on {topic}", f"{sent:%Y-%m-%d %H:%M:%S}", body))
    return rows


def _events(draw: random.Random, people: tuple[Person, ...]) -> list[tuple[Any, ...]]:
    """Events on working days, none overlapping another, between 9:00 and 18:00."""
    days = [date(2023, 8, 1) + timedelta(days=n) for n in range(143)]
    days = [day for day in days if day.weekday() < 5]
    busy: dict[date, list[tuple[int, int]]] = {day: [] for day in days}
    made: list[tuple[datetime, int]] = []
    while len(made) < 300:
        day, minutes = draw.choice(days), draw.choice((30, 60, 90, 120))
        start = draw.randrange(9 * 60, 18 * 60 - minutes + 1, 30)
        if len(busy[day]) < 5 and all(start + minutes <= a or start >= b for a, b in busy[day]):
            busy[day].append((start, start + minutes))
            made.append((datetime(day.year, day.month, day.day) + timedelta(minutes=start), minutes))
    return [
        (key, draw.choice(MEETINGS), draw.choice(people).email, f"{start:%Y-%m-%d %H:%M:%S}", str(minutes))
        for key, (start, minutes) in zip(_ids(draw, 300), sorted(made), strict=True)
    ]


def _visits(draw: random.Random) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for _ in range(1000):
        day = date(2023, 9, 1) + timedelta(days=draw.randrange(91))
        views, seconds = draw.randint(1, 20), draw.randint(1, 99)
        source = draw.choices(SOURCES, (50, 10, 13, 27))[0]
        engaged = views > 8 or seconds > 60
        rows.append((str(day), f"{draw.randrange(10000):04d}", str(views), str(seconds), source, engaged))
    return rows


def _tasks(draw: random.Random, team: tuple[Person, ...]) -> list[tuple[Any, ...]]:
    names = [f"{verb} {thing}" for verb in VERBS for thing in THINGS]
    days = [date(2023, 11, 27) + timedelta(days=n) for n in range(17)]
    weights = [12 if person.last < "N" else 7 for person in team]  # some are busier than others
    rows = []
    for key in _ids(draw, 300):
        due = draw.choice(days)
        late = (50, 10, 5, 35) if due < TODAY else (65, 12, 8, 15)
        owner = draw.choices(team, weights)[0]
        where = draw.choices(LISTS, late)[0]
        rows.append((key, draw.choice(names), owner.email, where, str(due), draw.choice(BOARDS)))
    return sorted(rows, key=lambda row: (row[1], row[0]))


def _customers(draw: random.Random, sellers: tuple[Person, ...]) -> list[tuple[Any, ...]]:
    names = draw.sample([(first, last) for first in CLIENT_FIRST for last in CLIENT_LAST], 200)
    rows = []
    for key, (first, last) in zip(_ids(draw, 200), names, strict=True):
        contact = TODAY - timedelta(days=draw.randrange(61))
        follow = contact + timedelta(days=draw.randint(5, 40))
        address = f"{first}.{last}@{draw.choice(FIRMS)}".lower()
        phone = f"{draw.randint(200, 999)}-{draw.randint(200, 999)}-{draw.randint(1000, 9999)}"
        note = f"{contact}: {draw.choice(CONTACTS)}. " if draw.random() < 0.78 else None
        rows.append(
            (key, draw.choice(sellers).email, f"{first} {last}", address, phone if draw.random() < 0.5 else None,
             f"{contact} 23:59:00", draw.choice(PRODUCTS), draw.choice(STATUSES), f"{follow} 23:59:00", note)
        )  # fmt: skip
    return sorted(rows, key=lambda row: (str(row[5]), str(row[0])), reverse=True)
