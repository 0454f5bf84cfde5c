"""The books keep their invariants under any sequence of calls, and refuse in words."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.ledger.bank import MAX_AMOUNT, Account, Bank
from gym_core.tools import ToolFault


def bank() -> Bank:
    accounts = [Account("A1", "Ana", 10), Account("B1", "Bo", 4), Account("C1", "Cy", 7, frozen=True)]
    return Bank.opened({account.id: account for account in accounts})


def balances(of: Bank) -> dict[str, int]:
    return {account.id: account.balance for account in of.accounts.values()}


def test_writes_do_what_they_say() -> None:
    books = bank()
    books.deposit("A1", 5)
    books.withdraw("B1", 4)
    books.transfer("A1", "B1", 15)
    assert balances(books) == {"A1": 0, "B1": 15, "C1": 7}
    assert books.journal == [("A1", 5, False), ("B1", -4, False), ("A1", -15, False), ("B1", 15, False)]
    assert books.total == 22


@pytest.mark.parametrize(
    ("action", "arguments", "says"),
    [
        ("withdraw", ("A1", 11), "has only 10"),
        ("transfer", ("A1", "B1", 11), "has only 10"),
        ("transfer", ("A1", "A1", 1), "same account"),
        ("transfer", ("C1", "B1", 1), "frozen"),
        ("transfer", ("A1", "C1", 1), "frozen"),
        ("deposit", ("C1", 1), "frozen"),
        ("withdraw", ("C1", 1), "frozen"),
        ("deposit", ("Z9", 1), "no account"),
        ("deposit", ("", 1), "no account"),
        ("freeze", ("C1", True), "already frozen"),
        ("freeze", ("A1", False), "not frozen"),
    ],
)
def test_a_refusal_says_why_and_changes_nothing(action: str, arguments: tuple[Any, ...], says: str) -> None:
    books = bank()
    with pytest.raises(ToolFault, match=says):
        getattr(books, action)(*arguments)
    assert books == bank()


@pytest.mark.parametrize("amount", [0, -1, -(10**9), MAX_AMOUNT + 1, True, False, 2.0, float("nan"), float("inf"), "3"])
def test_only_whole_positive_amounts_move(amount: Any) -> None:
    books = bank()
    for action, arguments in (("deposit", ("A1",)), ("withdraw", ("A1",)), ("transfer", ("A1", "B1"))):
        with pytest.raises(ToolFault, match="amount must be"):
            getattr(books, action)(*arguments, amount)
    assert books == bank()


def test_owners_are_found_by_exact_name_in_order() -> None:
    books = Bank.opened({a.id: a for a in (Account("B2", "Ana", 0), Account("A2", "ana", 0), Account("C2", "Anna", 0))})
    assert [account.id for account in books.find(" ANA ")] == ["A2", "B2"]
    assert books.find("An") == []


IDS = st.sampled_from(["A1", "B1", "C1", "Z9", ""])
AMOUNTS = st.integers(-3, 20)
CALLS = st.one_of(
    st.tuples(st.just("deposit"), IDS, AMOUNTS),
    st.tuples(st.just("withdraw"), IDS, AMOUNTS),
    st.tuples(st.just("transfer"), IDS, IDS, AMOUNTS),
    st.tuples(st.just("freeze"), IDS, st.booleans()),
)


@given(st.lists(CALLS, max_size=30))
def test_money_is_conserved_and_nobody_overdraws(calls: list[tuple[Any, ...]]) -> None:
    books, inflow = bank(), 0
    for name, *arguments in calls:
        try:
            getattr(books, name)(*arguments)
        except ToolFault:
            continue
        inflow += {"deposit": 1, "withdraw": -1}.get(name, 0) * int(arguments[-1])
    assert sum(balances(books).values()) == 21 + inflow == books.total
    assert min(balances(books).values()) >= 0
    assert books.accounts.keys() == {"A1", "B1", "C1"}
