"""The bank's books: typed rows in tables by id, and what differs between two states of them.

Amounts are whole cents, dates are `datetime.date`. Rows are frozen: a write puts another row in the place of the old.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields, replace
from datetime import date
from typing import Any


@dataclass(slots=True, frozen=True)
class Customer:
    id: str
    name: str
    birth_date: date
    security_word: str
    email: str
    phone: str
    address: str


@dataclass(slots=True, frozen=True)
class Account:
    """`kind` is checking, savings or reserve; `status` open or closed; `balance` is never negative."""

    id: str
    customer: str
    kind: str
    balance: int
    status: str = "open"


@dataclass(slots=True, frozen=True)
class Card:
    """`status` is active, frozen (by the customer), blocked (by the bank), lost or replaced; `limit` is per day."""

    id: str
    account: str
    kind: str
    last4: str
    status: str = "active"
    limit: int = 100_000


@dataclass(slots=True, frozen=True)
class Transaction:
    """`amount` is signed; `kind` is purchase, fee, interest, refund, salary or transfer."""

    id: str
    account: str
    on: date
    amount: int
    text: str
    kind: str = "purchase"


@dataclass(slots=True, frozen=True)
class Payment:
    """A payment to the outside that is to come; `status` is scheduled or cancelled."""

    id: str
    account: str
    payee: str
    amount: int
    due: date
    status: str = "scheduled"


@dataclass(slots=True, frozen=True)
class Dispute:
    id: str
    transaction: str
    reason: str
    opened: date
    status: str = "open"


@dataclass(slots=True, frozen=True)
class Loan:
    """`status` is applied, running or repaid."""

    id: str
    customer: str
    amount: int
    months: int
    status: str = "applied"


@dataclass(slots=True, frozen=True)
class Decline:
    """A request that was declined, and the rule of the policy that was given for it."""

    id: str
    rule: str


Row = Customer | Account | Card | Transaction | Payment | Dispute | Loan | Decline
Place = tuple[str, str]
"""Table and id of a row."""


@dataclass(slots=True)
class Books:
    """All tables. A copy shares the rows, which nobody changes."""

    customers: dict[str, Customer] = field(default_factory=dict)
    accounts: dict[str, Account] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)
    transactions: dict[str, Transaction] = field(default_factory=dict)
    payments: dict[str, Payment] = field(default_factory=dict)
    disputes: dict[str, Dispute] = field(default_factory=dict)
    loans: dict[str, Loan] = field(default_factory=dict)
    declines: dict[str, Decline] = field(default_factory=dict)

    def copy(self) -> Books:
        return Books(*(dict(self.table(name)) for name in TABLES))

    def table(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = getattr(self, name)
        return found

    def put(self, row: Row) -> None:
        self.table(TABLE_OF[type(row)])[row.id] = row

    def owner(self, row: Row) -> str:
        """The customer whom a row belongs to; "" for rows that belong to nobody."""
        if isinstance(row, Customer):
            return row.id
        if isinstance(row, Account | Loan):
            return row.customer
        if isinstance(row, Card | Transaction | Payment):
            return self.accounts[row.account].customer
        return self.owner(self.transactions[row.transaction]) if isinstance(row, Dispute) else ""

    def total(self) -> int:
        """The money in all accounts."""
        return sum(account.balance for account in self.accounts.values())


TABLES = tuple(item.name for item in fields(Books))
TABLE_OF: dict[type[Row], str] = dict(
    zip((Customer, Account, Card, Transaction, Payment, Dispute, Loan, Decline), TABLES, strict=True)
)


@dataclass(slots=True)
class Changes:
    """What two states differ in: rows that were there and are not the same, and new rows without their ids."""

    changed: dict[Place, Row] = field(default_factory=dict)
    created: Counter[Row] = field(default_factory=Counter)

    def same(self, other: Changes) -> bool:
        return self.changed == other.changed and self.created == other.created

    def beyond(self, other: Changes) -> bool:
        """True where something changed here that the other leaves alone."""
        return bool(self.changed.keys() - other.changed.keys() or self.created - other.created)


def changes(before: Books, after: Books) -> Changes:
    """Rows are never deleted; new ones are told apart by what they say, so that their order does not count."""
    found = Changes()
    for name in TABLES:
        old, new = before.table(name), after.table(name)
        for row_id, row in new.items():
            if row_id not in old:
                found.created[replace(row, id="")] += 1
            elif old[row_id] is not row and old[row_id] != row:
                found.changed[name, row_id] = row
    return found
