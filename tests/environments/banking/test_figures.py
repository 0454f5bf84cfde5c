"""Amounts and dates: as tools take them, and as they are found in what somebody wrote."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.banking.figures import cents, day, found_in, money
from gym_core.tools import ToolFault

MARCH = date(2026, 3, 4)


@pytest.mark.parametrize(
    "text",
    [
        *("1,234.50", "1234.50", "1234.5", "EUR 1,234.50", "€1,234.50", "1.234,50 €", "1 234.50", "1'234.50"),
        *("You have **1,234.50** now.", "It is 1,234.50.", "(1234.50)", "-1,234.50", "１２３４.50", "1\u00a0234.50"),
    ],
)
def test_an_amount_is_found_however_it_is_written(text: str) -> None:
    assert found_in(text)[0] == {123_450}


@pytest.mark.parametrize(
    "text",
    ["x1234.50", "C1234", "1234.505", "1234.50.1", "1e5", "12345678901234", "one thousand", "1,2,3", "", "€"],
)
def test_what_is_no_amount_is_none(text: str) -> None:
    assert 123_450 not in found_in(text)[0]


@pytest.mark.parametrize(
    "text",
    ["2026-03-04", "4 March 2026", "4th of March 2026", "March 4, 2026", "Mar 4th, 2026", "04.03.2026", "4 MAR 2026"],
)
def test_a_date_is_found_however_it_is_written_and_is_no_amount(text: str) -> None:
    assert found_in(f"It was on {text}, for 12.50.") == ({1_250}, {MARCH})


@pytest.mark.parametrize("text", ["2026-02-30", "31.02.2026", "30 February 2026"])
def test_a_day_that_does_not_exist_is_no_date(text: str) -> None:
    assert found_in(text)[1] == set()


@given(st.integers(0, 10**9))
def test_what_is_written_for_people_is_found_again(amount: int) -> None:
    assert found_in(f"balance {money(amount)}, open")[0] == {amount}


@given(st.text(max_size=300))
def test_anything_can_be_read(text: str) -> None:
    amounts, dates = found_in(text)
    assert all(amount >= 0 for amount in amounts) and all(isinstance(on, date) for on in dates)


@pytest.mark.parametrize(
    "text", ["9" * 200_000, "a" * 200_000, "1," * 100_000, "1 " * 100_000, "." * 200_000, "2026-" * 50_000]
)
def test_long_texts_are_read_in_time(text: str) -> None:
    assert len(found_in(text)[0]) < 100


@pytest.mark.parametrize(
    ("amount", "wanted"), [(1, 100), (0.01, 1), (12.5, 1_250), (0.29, 29), (999_999.99, 99_999_999)]
)
def test_a_tools_amount_is_taken_to_the_cent(amount: float, wanted: int) -> None:
    assert cents(amount) == wanted


@pytest.mark.parametrize("amount", [0, -1, 0.001, 12.345, 1e300, float("inf"), float("nan"), 1_000_001])
def test_an_amount_that_is_none_is_refused(amount: float) -> None:
    with pytest.raises(ToolFault, match="amount"):
        cents(amount)


@pytest.mark.parametrize(
    "text", ["", "today", "2026-3-4", "20260304", "2026-13-01", "2026-03-04T00:00", "２０２６-03-04"]
)
def test_a_tools_date_is_iso_and_nothing_else(text: str) -> None:
    assert day("2026-03-04") == MARCH
    with pytest.raises(ToolFault, match="YYYY-MM-DD"):
        day(text)
