"""Typed facts, one statement each: `the approved budget of Project Amber Falcon is 412,000 EUR`."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

Value = int | date | str

MONTHS = (
    "January", "February", "March", "April", "May", "June",
    "July", "August", "September", "October", "November", "December",
)  # fmt: skip


@dataclass(slots=True, frozen=True)
class Attribute:
    """What is said of a thing: its name, unit and range, and the name that it is easily mistaken for."""

    name: str
    unit: str
    low: int
    high: int
    step: int
    near: str


NUMBERS = (
    Attribute("approved budget", "EUR", 20_000, 990_000, 500, "requested budget"),
    Attribute("headcount", "people", 6, 240, 1, "planned headcount"),
    Attribute("shipping weight", "kg", 100, 9_800, 1, "gross shipping weight"),
    Attribute("floor area", "m²", 120, 6_400, 1, "leased floor area"),
    Attribute("annual output", "units", 1_000, 90_000, 10, "annual output target"),
    Attribute("energy use", "MWh", 40, 4_000, 1, "metered energy use"),
)
NEAR = {attribute.name: attribute.near for attribute in NUMBERS} | {
    "start date": "planned start date",
    "completion date": "planned completion date",
    "signing date": "drafting date",
    "lead": "former lead",
    "site": "former site",
    "manager": "former manager",
    "deputy": "former deputy",
    "mentor": "former mentor",
    "adviser": "former adviser",
    "home office": "former home office",
    "unit price": "former unit price",
    "ordered quantity": "usual quantity",
    "initial term": "notice period",
    "first extension": "first grace period",
    "second extension": "second grace period",
    "third extension": "third grace period",
}
"""The attribute that is easily mistaken for this one; nothing ever asks for it."""


@dataclass(slots=True, frozen=True)
class Fact:
    """`value` is a whole number (of `unit`, where it has one), a date or a name."""

    entity: str
    attribute: str
    value: Value
    unit: str = ""

    @property
    def key(self) -> tuple[str, str]:
        return self.entity, self.attribute


def prose(fact: Fact) -> str:
    """The value as running text writes it: `412,000 EUR`, `14 March 2031`."""
    if isinstance(fact.value, int):
        return f"{fact.value:,} {fact.unit}".rstrip()
    return long_date(fact.value) if isinstance(fact.value, date) else fact.value


def plain(fact: Fact) -> str:
    """The value as tables and logs write it: `412000 EUR`, `2031-03-14`."""
    if isinstance(fact.value, int):
        return f"{fact.value} {fact.unit}".rstrip()
    return fact.value.isoformat() if isinstance(fact.value, date) else fact.value


def long_date(day: date) -> str:
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"
