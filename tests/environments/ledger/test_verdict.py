"""Final state and told number decide; detours are counted, not punished."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.ledger.bank import Account, Bank
from environments.ledger.verdict import Goal, judge, told

START = {"A1": Account("A1", "Ana", 10), "B1": Account("B1", "Bo", 4)}
END = {"A1": Account("A1", "Ana", 7), "B1": Account("B1", "Bo", 7)}


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12),
        ("Ana has 12.", 12),
        ("12, as I said: 12", 12),
        ("12 or 13", None),
        ("A12: 13", None),
        ("1,250", 1250),
        ("-12", -12),
        ("12.5", None),
        ("twelve", None),
        ("", None),
        ("9" * 13, None),
        ("8" * 5000, None),
        ("7" + " " * 20_000, None),
    ],
)
def test_the_told_number_is_the_only_one(text: str, number: int | None) -> None:
    assert told(text) == number


def test_the_exact_final_state_is_success_whatever_the_way() -> None:
    bank = Bank.opened(START)
    bank.transfer("A1", "B1", 3)
    verdict = judge(Goal(START, END), bank, "done")
    assert verdict.reward == 1.0
    assert verdict.components == {"state": 1.0, "answer": 1.0, "collateral": 0.0, "undone": 0.0, "writes": 2.0}


def test_damage_undone_is_success_and_counted() -> None:
    bank = Bank.opened(START)
    bank.transfer("A1", "B1", 5)
    bank.transfer("B1", "A1", 2)
    verdict = judge(Goal(START, END), bank, "done")
    assert verdict.reward == 1.0
    assert verdict.components["undone"] == 1.0


def test_freezing_and_thawing_again_is_a_detour_too() -> None:
    bank = Bank.opened(START)
    bank.freeze("A1", True)
    bank.freeze("A1", False)
    bank.transfer("A1", "B1", 3)
    assert judge(Goal(START, END), bank, "").components["undone"] == 1.0


def test_collateral_damage_earns_nothing() -> None:
    start = {**START, "C1": Account("C1", "Cy", 1)}
    bank = Bank.opened(start)
    bank.transfer("A1", "B1", 3)
    bank.deposit("C1", 1)
    verdict = judge(Goal(start, {**END, "C1": start["C1"]}), bank, "done")
    assert verdict.reward == 0.0
    assert verdict.components["collateral"] == 1.0
    assert verdict.details["wrong_accounts"] == ["C1"]


def test_a_right_state_with_a_wrong_number_earns_nothing_and_the_other_way_round() -> None:
    moved = Bank.opened(START)
    moved.transfer("A1", "B1", 3)
    goal = Goal(START, END, answer=7)
    assert judge(goal, moved, "7").reward == 1.0
    assert judge(goal, moved, "8").reward == 0.0
    assert judge(goal, Bank.opened(START), "7").reward == 0.0


@given(st.text(max_size=300))
def test_no_text_makes_the_verdict_raise(text: str) -> None:
    assert judge(Goal(START, END, answer=3), Bank.opened(START), text).reward == 0.0
