"""Grading by the final state: the books as they are, against the books as they should be, and the number asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from environments.ledger.bank import Bank, Books
from gym_core.contracts import Verdict

_NUMBER = re.compile(r"(?<!\w)-?[0-9]+|[0-9]+")
_THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
MAX_REPLY = 10_000
MAX_DIGITS = 12


@dataclass(slots=True, frozen=True)
class Goal:
    """How the books began, how they must end, and the number the reply must give (None: no number is asked)."""

    start: Books
    end: Books
    answer: int | None = None

    def to_change(self) -> set[str]:
        return {account_id for account_id, account in self.end.items() if self.start.get(account_id) != account}


def judge(goal: Goal, bank: Bank, text: str) -> Verdict:
    """1.0 where every account is as expected and the answer is right; damage undone in time is success, and counted."""
    wrong = sorted(
        account_id
        for account_id in goal.end.keys() | bank.accounts.keys()
        if goal.end.get(account_id) != bank.accounts.get(account_id)
    )
    needed = goal.to_change()
    state, answer = not wrong, goal.answer is None or told(text) == goal.answer
    return Verdict(
        reward=float(state and answer),
        components={
            "state": float(state),
            "answer": float(answer),
            "collateral": float(any(account_id not in needed for account_id in wrong)),
            "undone": float(state and _went_back(bank, needed)),
            "writes": float(len(bank.journal)),
        },
        details={"wrong_accounts": wrong, "told": told(text)},
    )


def told(text: str) -> int | None:
    """The one whole number of a reply; None where there is none, or more than one: listing numbers is no answer."""
    if len(text) > MAX_REPLY:
        return None
    found = set(_NUMBER.findall(_THOUSANDS.sub("", text)))
    return int(found.pop()) if len(found) == 1 and len(max(found)) <= MAX_DIGITS else None


def _went_back(bank: Bank, needed: set[str]) -> bool:
    """True where a right end was reached by a detour: an account touched for nothing, or moved both ways."""
    if bank.touched() - needed:
        return True
    for account_id in needed:
        entries = [entry for entry in bank.journal if entry[0] == account_id]
        changes = [change for _, change, _ in entries if change]
        switches = len(entries) - len(changes)
        if (changes and min(changes) < 0 < max(changes)) or switches > 1:
            return True
    return False
