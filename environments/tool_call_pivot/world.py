"""What a story is about: a customer, what they have booked, the terms they booked under, and the day."""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from environments.tool_call_pivot.domains import Domain
from environments.tool_call_pivot.policy import Policy

TIERS = ("basic", "silver", "gold")
LETTERS = "BCDFGHJKLMNPQRSTVWXZ"
SECRETS = ("maple", "harbour", "copper", "violet", "thistle", "marble", "falcon", "ginger", "saddle", "pepper")
NEAR = (0, 1, 2, 5, 12, 30)
"""Days between a date and the edge of the term it falls into; the edges themselves come up often."""


@dataclass(slots=True, frozen=True)
class Record:
    """Something booked; `price` in whole euros, a multiple of 4 so that every percentage of it is whole too."""

    id: str
    item: str
    price: int
    date: date
    option: str
    changes: int

    def shown(self, domain: Domain) -> dict[str, Any]:
        """As the tools return it."""
        return {
            domain.id_field: self.id,
            "item": self.item,
            "price": self.price,
            domain.date_field: self.date.isoformat(),
            domain.option_field: self.option,
            "changes": self.changes,
        }


@dataclass(slots=True, frozen=True)
class Case:
    domain: Domain
    policy: Policy
    company: str
    today: date
    person: str
    secret: str
    tier: str
    records: tuple[Record, ...]

    def days(self, record: Record) -> int:
        return (record.date - self.today).days

    def refund(self, record: Record) -> int | None:
        return self.policy.refund(record.price, self.days(record), self.tier)

    def fee(self, wish: str) -> int:
        return self.policy.fee(self.policy.move_fee if wish == "move" else self.policy.change_fee, self.tier)

    def final(self, record: Record) -> bool:
        return record.changes >= self.policy.max_changes


def drawn(rng: random.Random, domain: Domain, policy: Policy, *, num_records: int, alike: bool, final: bool) -> Case:
    """A case by lot. With `alike` some records are of the same item; with `final` some can no longer be changed."""
    today = date(2024, 1, 1) + timedelta(days=rng.randrange(1500))
    items = rng.sample(domain.items, min(num_records, 3 if alike else num_records))
    items += rng.choices(items, k=num_records - len(items))
    numbers = rng.sample(range(1000, 10_000), num_records)
    prices = rng.sample(range(6, 120), num_records)
    days: set[int] = set()
    while len(days) < num_records:
        days.add(_days(rng, policy))
    records = [
        Record(
            id=f"{domain.prefix}-{number}",
            item=item,
            price=4 * price,
            date=today + timedelta(days=until),
            option=rng.choice(domain.options),
            changes=rng.randint(0, policy.max_changes if final else policy.max_changes - 1),
        )
        for number, item, price, until in zip(
            numbers, items, prices, rng.sample(sorted(days), num_records), strict=True
        )
    ]
    return Case(
        domain=domain,
        policy=policy,
        company=rng.choice(domain.companies),
        today=today,
        person=f"{rng.choice(LETTERS)}{rng.randint(10_000, 99_999)}",
        secret=f"{rng.choice(SECRETS)}{rng.randint(10, 99)}",
        tier=rng.choice(TIERS),
        records=tuple(records),
    )


def _days(rng: random.Random, policy: Policy) -> int:
    """Days from today, in one of the three terms, often at its edge."""
    beyond = rng.choice(NEAR)
    term = rng.randrange(5)
    if term == 0:
        return max(1, policy.part_days - 1 - beyond)
    if term <= 2:
        return min(policy.part_days + beyond, policy.full_days - 1)
    return policy.full_days + beyond + rng.randrange(8)
