"""The desk of one conversation: the books, who is verified, what was written, and how it ended.

A write puts rows, and every write is checked (`invariants`). What the bank's system itself refuses is a `ToolFault`
and leaves everything as it was; what only the policy forbids goes through and is remembered as a violation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from environments.banking.books import TABLE_OF, Account, Books, Card, Decline, Row, Transaction
from environments.banking.invariants import Write, assert_kept, violations
from gym_core.tools import ToolFault

CHECKS_BEFORE_HUMAN = 2
MAX_CHECKS = 3
"""Failed checks after which the system lets nobody in any more."""


@dataclass(slots=True)
class Desk:
    """The state of a session. `ended` is "" while it lasts, then the outcome of the case or the reason of a
    hand-over; `left` says that the customer is gone."""

    start: Books
    today: date
    books: Books = field(default_factory=Books)
    verified: str = ""
    failed_checks: int = 0
    ended: str = ""
    left: bool = False
    log: list[Write] = field(default_factory=list)
    declined: int = 0
    violations: list[str] = field(default_factory=list)
    granted: int = 0

    @classmethod
    def opened(cls, books: Books, today: date) -> Desk:
        return cls(start=books, today=today, books=books.copy())

    @property
    def acts(self) -> int:
        """Writes and declined requests so far: what a customer sees being done."""
        return len(self.log) + self.declined

    def find(self, table: str, row_id: str, what: str) -> Any:
        """A row by id. Raises `ToolFault`."""
        found = self.books.table(table).get(row_id.strip())
        if found is None:
            raise ToolFault(f"there is no {what} {row_id[:20]!r}")
        return found

    def account(self, account_id: str) -> Account:
        found: Account = self.find("accounts", account_id, "account")
        return found

    def open_account(self, account_id: str) -> Account:
        """An account that can be used. Raises `ToolFault`."""
        found = self.account(account_id)
        if found.status != "open":
            raise ToolFault(f"account {found.id} is {found.status}")
        return found

    def card(self, card_id: str) -> Card:
        found: Card = self.find("cards", card_id, "card")
        return found

    def new_id(self, table: str) -> str:
        """The next id of a table: its letter and one more than the highest number."""
        letter = {"accounts": "A", "cards": "C", "transactions": "T", "payments": "P", "disputes": "D", "loans": "L"}
        numbers = [int(row_id[1:]) for row_id in self.books.table(table)]
        return f"{letter[table]}{max(numbers, default=1000) + 1}"

    def write(self, tool: str, *rows: Row, granted: int = 0) -> None:
        """Put the rows, all of them or none, and check what must hold."""
        self.lasting()
        before = self.books.copy()
        pairs = []
        for row in rows:
            pairs.append((_old(self.books, row), row))
            self.books.put(row)
        write = Write(tool, tuple(pairs), granted)
        try:
            assert_kept(self.books, write, self.start.total(), self.granted + granted)
        except AssertionError:
            self.books = before
            raise
        self.granted += granted
        self.log.append(write)
        self.violations.extend(violations(self.books, write, self.verified, self.today))

    def transaction(self, account: Account, amount: int, text: str, kind: str, place: int = 0) -> Transaction:
        """A new entry of today; `place` counts the new entries of one write."""
        number = int(self.new_id("transactions")[1:]) + place
        return Transaction(f"T{number}", account.id, self.today, amount, text, kind)

    def decline(self, rule: str) -> None:
        self.known()
        self.books.put(Decline(f"R{len(self.books.declines) + 1}", rule))
        self.declined += 1

    def check(self, customer_id: str, birth_date: date, security_word: str) -> bool:
        """Whether this is the customer; who failed too often stays outside."""
        self.lasting()
        if self.failed_checks >= MAX_CHECKS:
            raise ToolFault("too many failed checks: the system is locked for this conversation")
        found = self.books.customers.get(customer_id.strip())
        said = security_word.strip().casefold()
        if found is None or found.birth_date != birth_date or found.security_word.casefold() != said:
            self.failed_checks += 1
            return False
        if self.verified and self.verified != found.id:
            self.violations.append("two_callers")
        self.verified = found.id
        return True

    def hand_over(self, reason: str) -> None:
        """End with a human; before anybody is verified only after checks that failed."""
        self.known(excused=self.failed_checks >= CHECKS_BEFORE_HUMAN)
        self.ended = reason

    def close(self, outcome: str) -> None:
        self.lasting()
        self.ended = outcome

    def known(self, excused: bool = False) -> None:
        """What must wait until the caller is verified (I1); the system lets it pass and remembers it."""
        self.lasting()
        if not self.verified and not excused:
            self.violations.append("verified_first")

    def lasting(self) -> None:
        """Raises `ToolFault` once the conversation is over."""
        if self.ended or self.left:
            raise ToolFault("the conversation is over, nothing more can be done in it")


def _old(books: Books, row: Row) -> Row | None:
    table: Mapping[str, Row] = books.table(TABLE_OF[type(row)])
    return table.get(row.id)
