"""A dialogue being written: the bank as it is, things that a family adds to it, and the goals so far.

Families add rows to `start`, where the dialogue begins, and read `now`, where the goals written so far have led: the
calls of each goal are played as they are written down.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from environments.banking.books import Account, Books, Card, Customer, Payment, Row, Transaction
from environments.banking.desk import Desk
from environments.banking.names import EMAIL_HOSTS, FIRST, LAST, PAYEES, SHOPS, STREETS, WORDS
from environments.banking.plan import Goal
from environments.banking.replay import play
from gym_core.environment import Call, ToolFault

FIRST_DAY = date(2026, 2, 1)
DAYS = 300


class Misfit(Exception):
    """A goal does not go with those before it; another one is drawn."""


@dataclass(slots=True)
class Story:
    """`me` is the customer who calls; `now` is the desk after the goals so far."""

    rng: random.Random
    today: date
    start: Books = field(default_factory=Books)
    now: Desk = field(init=False)
    me: Customer = field(init=False)
    used: set[str] = field(default_factory=set)
    goals: list[Goal] = field(default_factory=list)

    @classmethod
    def begun(cls, rng: random.Random, age: int | None = None) -> Story:
        """A small bank: the caller (of this age) with two accounts and a card, two other customers, some entries."""
        story = cls(rng, FIRST_DAY + timedelta(days=rng.randrange(DAYS)))
        story.now = Desk.opened(story.start, story.today)
        story.me = story.customer(age)
        story.now.verified = story.me.id
        checking = story.account(balance=rng.randint(60_000, 400_000))
        story.account("savings", rng.randint(100_000, 900_000))
        story.card(checking)
        for _ in range(2):
            story.card(story.account(owner=story.customer(), balance=rng.randint(20_000, 300_000)))
        for account in list(story.start.accounts.values()):
            for _ in range(rng.randint(2, 5)):
                story.entry(account, -rng.randint(400, 18_000), story.pick(SHOPS), rng.randint(1, 50))
        return story

    # Drawing -----------------------------------------------------------------------------------------------------

    def pick(self, choices: Sequence[str]) -> str:
        return self.rng.choice(choices)

    def number(self, letter: str) -> str:
        """An id that is not taken."""
        while True:
            found = f"{letter}{self.rng.randint(1000, 8999)}" if letter else str(self.rng.randint(100_000, 999_999))
            if found not in self.used:
                self.used.add(found)
                return found

    def cents(self, low: int, high: int) -> int:
        """An amount between two amounts in whole units, with cents half of the time."""
        return self.rng.randint(low, high) * 100 + (self.rng.randint(1, 99) if self.rng.random() < 0.5 else 0)

    def ago(self, days: int) -> date:
        return self.today - timedelta(days=days)

    # The bank ----------------------------------------------------------------------------------------------------

    def put(self, row: Row) -> None:
        """A row that was there from the beginning."""
        self.start.put(row)
        self.now.books.put(row)

    def customer(self, age: int | None = None) -> Customer:
        rng = self.rng
        name = f"{self.pick(FIRST)} {self.pick(LAST)}"
        born = self.ago(365 * (age or rng.randint(20, 80)) + (0 if age else rng.randrange(360)) + 30)
        email = f"{name.lower().replace(' ', '.')}@{self.pick(EMAIL_HOSTS)}"
        phone = f"+49 {rng.randint(150, 179)} {rng.randint(1_000_000, 9_999_999)}"
        address = f"{rng.randint(1, 99)} {self.pick(STREETS)}"
        found = Customer(self.number(""), name, born, self.pick(WORDS), email, phone, address)
        self.put(found)
        return found

    def account(self, kind: str = "checking", balance: int = 0, owner: Customer | None = None) -> Account:
        found = Account(self.number("A"), (owner or self.me).id, kind, balance)
        self.put(found)
        return found

    def card(self, account: Account, status: str = "active", kind: str = "debit") -> Card:
        limit = self.rng.choice((50_000, 100_000, 150_000))
        taken = {card.last4 for card in self.start.cards.values()}
        last4 = f"{self.rng.randint(0, 9999):04d}"
        while last4 in taken:
            last4 = f"{self.rng.randint(0, 9999):04d}"
        found = Card(self.number("C"), account.id, kind, last4, status, limit)
        self.put(found)
        return found

    def entry(self, account: Account, amount: int, text: str, days: int, kind: str = "purchase") -> Transaction:
        found = Transaction(self.number("T"), account.id, self.ago(days), amount, text, kind)
        self.put(found)
        return found

    def payment(self, account: Account, payee: str, amount: int, days: int) -> Payment:
        found = Payment(self.number("P"), account.id, payee, amount, self.today + timedelta(days=days))
        self.put(found)
        return found

    # What there is now -------------------------------------------------------------------------------------------

    def mine(self, kind: str = "checking") -> Account:
        """The caller's first account of a kind, as it is now."""
        return next(
            row for row in self.now.books.accounts.values() if row.customer == self.me.id and row.kind == kind
            and row.status == "open"
        )  # fmt: skip

    def all_mine(self) -> list[Account]:
        return [row for row in self.now.books.accounts.values() if row.customer == self.me.id and row.status == "open"]

    def my_card(self, status: str = "active") -> Card:
        """A card of the caller's that no goal has used: a new one."""
        return self.card(self.mine(), status, self.rng.choice(("debit", "credit")))

    def stranger(self) -> tuple[Customer, Account]:
        """Another customer, and an account of theirs."""
        rows = [row for row in self.now.books.accounts.values() if row.customer != self.me.id and row.status == "open"]
        account = self.rng.choice(rows)
        return self.now.books.customers[account.customer], account

    def shop(self) -> str:
        """A shop where nobody has bought anything yet."""
        seen = {row.text for row in self.now.books.transactions.values()}
        return self.pick([name for name in SHOPS if name not in seen])

    def payee(self) -> str:
        """Somebody outside whom nobody pays yet."""
        seen = {row.payee for row in self.now.books.payments.values()}
        return self.pick([name for name in PAYEES if name not in seen])

    def have(self, account: Account, least: int) -> Account:
        """The account with at least so much in it, from the beginning on. Raises `Misfit` once a goal relies on it."""
        if account.balance >= least:
            return account
        if self.goals:
            raise Misfit(f"{account.id} has too little")
        more = least - account.balance + self.rng.randint(0, 50_000)
        first = self.start.accounts[account.id]
        self.start.put(replace(first, balance=first.balance + more))
        raised = replace(account, balance=account.balance + more)
        self.now.books.put(raised)
        return raised

    def told(self, goal: Goal) -> Goal:
        """Enter the goal: its calls are played, so that the next one begins where it ends.

        Raises `Misfit` where they cannot be played, or break a rule after what came before.
        """
        try:
            play(self.now, goal.calls)
        except ToolFault as fault:
            raise Misfit(f"{goal.family}: {fault}") from fault
        if self.now.violations:
            raise Misfit(f"{goal.family}: {self.now.violations}")
        self.goals.append(goal)
        return goal


def answers(pairs: Iterable[tuple[str, str]] = (), **named: str) -> tuple[tuple[str, str], ...]:
    """Slots and the words for them."""
    return (*pairs, *named.items())


def call(name: str, **arguments: object) -> Call:
    return Call(name, dict(arguments))


def units(cents: int) -> float | int:
    """Cents as a tool takes them."""
    return cents // 100 if cents % 100 == 0 else cents / 100
