"""What a mistyped name may have meant."""

from __future__ import annotations

from gym_core.nearest import hint, nearest


def test_the_likest_come_first() -> None:
    assert nearest("ledgr", ["maths", "ledger", "leger"]) == ["ledger", "leger"]
    assert nearest("ledgr", {"ledger": 1}, count=1) == ["ledger"]
    assert nearest("ledgr", ["ledger"], cutoff=1.0) == []


def test_without_anything_near_all_is_named() -> None:
    assert hint("ledgr", ["ledger", "math"]) == "did you mean ledger?"
    assert hint("zzz", ["math", "ledger"]) == "there are: ledger, math"
    assert hint("nothing", ["banking", "math"]) == "there are: banking, math", "half of the letters are no likeness"
    assert hint("zzz", []) == "there are: none"
