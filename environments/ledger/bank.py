"""The books of one session: typed accounts, and writes that keep their invariants or refuse.

    deposit, withdraw: money comes from or goes to the outside world, and is counted
    transfer: money moves; the sum of all balances stays what it was

Every refusal is a `ToolFault` and leaves the books as they were.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from gym_core.tools import ToolFault

MAX_AMOUNT = 1_000_000


@dataclass(slots=True, frozen=True)
class Account:
    """One row of the table. `balance` in whole units, never negative."""

    id: str
    owner: str
    balance: int
    frozen: bool = False


Books = dict[str, Account]
"""Accounts by id."""


@dataclass(slots=True)
class Bank:
    """The state of a session. `journal` keeps (account id, change, frozen afterwards) for every successful write."""

    accounts: Books
    journal: list[tuple[str, int, bool]] = field(default_factory=list)
    total: int = 0

    @classmethod
    def opened(cls, books: Books) -> Bank:
        return cls(dict(books), total=sum(account.balance for account in books.values()))

    def find(self, owner: str) -> list[Account]:
        """Accounts of an owner, by exact name (case does not matter), in order of id."""
        wanted = owner.strip().casefold()
        return sorted((a for a in self.accounts.values() if a.owner.casefold() == wanted), key=lambda a: a.id)

    def account(self, account_id: str) -> Account:
        found = self.accounts.get(account_id.strip())
        if found is None:
            raise ToolFault(f"no account {account_id[:40]}")
        return found

    def deposit(self, account_id: str, amount: int) -> None:
        account = self._open(account_id)
        self._write({account.id: _amount(amount)}, inflow=amount)

    def withdraw(self, account_id: str, amount: int) -> None:
        account = self._covered(account_id, _amount(amount))
        self._write({account.id: -amount}, inflow=-amount)

    def transfer(self, source: str, target: str, amount: int) -> None:
        payer, payee = self._covered(source, _amount(amount)), self._open(target)
        if payer.id == payee.id:
            raise ToolFault("source and target are the same account")
        self._write({payer.id: -amount, payee.id: amount}, inflow=0)

    def freeze(self, account_id: str, frozen: bool) -> None:
        account = self.account(account_id)
        if account.frozen == frozen:
            raise ToolFault(f"{account.id} is {'already' if frozen else 'not'} frozen")
        self.accounts[account.id] = replace(account, frozen=frozen)
        self.journal.append((account.id, 0, frozen))

    def touched(self) -> set[str]:
        return {account_id for account_id, _, _ in self.journal}

    def _open(self, account_id: str) -> Account:
        account = self.account(account_id)
        if account.frozen:
            raise ToolFault(f"{account.id} is frozen")
        return account

    def _covered(self, account_id: str, amount: int) -> Account:
        account = self._open(account_id)
        if account.balance < amount:
            raise ToolFault(f"{account.id} has only {account.balance}")
        return account

    def _write(self, changes: dict[str, int], inflow: int) -> None:
        for account_id, change in changes.items():
            account = self.accounts[account_id]
            self.accounts[account_id] = replace(account, balance=account.balance + change)
            self.journal.append((account_id, change, account.frozen))
        self.total += inflow
        assert sum(account.balance for account in self.accounts.values()) == self.total, "money is conserved"


def _amount(amount: int) -> int:
    """A whole positive amount; what JSON types let through (true, 2.0, NaN) is refused here too."""
    if type(amount) is not int:
        raise ToolFault(f"the amount must be a whole number, not {amount!r}")
    if not 0 < amount <= MAX_AMOUNT:
        raise ToolFault(f"the amount must be from 1 to {MAX_AMOUNT}")
    return amount
