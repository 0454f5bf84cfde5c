"""Amounts and dates: read from what tools are given, written for people, and found again in what somebody said.

"1,234.50"  "EUR 1234.5"  "1.234,50"  "1 234.50"   are all 123450 cents
"2026-03-04"  "4 March 2026"  "March 4th, 2026"  "04.03.2026"   are all the fourth of March
"""

from __future__ import annotations

import math
import re
import unicodedata
from datetime import date
from functools import partial

from gym_core.tools import ToolFault

MAX_CENTS = 100_000_000
MAX_TEXT = 20_000
MONTHS = (
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
)  # fmt: skip
_NAMES = "|".join(f"{name}|{name[:3]}" for name in MONTHS)
_ISO = re.compile(r"(?<![\w-])(\d{4})-(\d{1,2})-(\d{1,2})(?![\w-])")
_DAY_FIRST = re.compile(rf"(?<!\w)(\d{{1,2}})(?:st|nd|rd|th)? (?:of )?({_NAMES})\.?,? (\d{{4}})(?!\w)", re.IGNORECASE)
_MONTH_FIRST = re.compile(rf"(?<!\w)({_NAMES})\.? (\d{{1,2}})(?:st|nd|rd|th)?,? (\d{{4}})(?!\w)", re.IGNORECASE)
_DOTTED = re.compile(r"(?<![\w.])(\d{1,2})\.(\d{1,2})\.(\d{4})(?![\w])")
_WORD = re.compile(r"\w+")
_GROUP = r"\d{1,3}(?:[,.' ]\d{3})+"
_NUMBER = re.compile(rf"(?<![\w.,])({_GROUP}|\d{{1,12}})(?:([.,])(\d{{1,2}}))?(?![\d])(?![.,]\d)")
_CURRENCY = re.compile(r"(?<![^\W_])(?:eur|euros?)(?![^\W_])|(?:eur|[€$£])(?=\d)|(?<=\d)(?:eur|[€$£])", re.IGNORECASE)


def cents(amount: float, what: str = "amount") -> int:
    """A tool's amount as cents. Raises `ToolFault` for what is no positive amount with at most two decimals."""
    if not math.isfinite(amount):
        raise ToolFault(f"the {what} must be a number")
    found = round(amount * 100)
    if abs(amount * 100 - found) > 1e-6 or not 0 < found <= MAX_CENTS:
        raise ToolFault(f"the {what} must be above 0, at most {money(MAX_CENTS)}, with at most two decimals")
    return found


def day(text: str, what: str = "date") -> date:
    """A tool's date. Raises `ToolFault` for what is not YYYY-MM-DD."""
    if len(text) == 10 and text.isascii():
        try:
            return date.fromisoformat(text)
        except ValueError:
            pass
    raise ToolFault(f"the {what} must be a date as YYYY-MM-DD")


def money(amount: int) -> str:
    """Cents for people: 1,234.50."""
    return f"{'-' if amount < 0 else ''}{abs(amount) // 100:,}.{abs(amount) % 100:02d}"


def found_in(text: str) -> tuple[set[int], set[date]]:
    """Every amount (cents, without sign) and every date that a text names. Words with letters in them are none."""
    plain = unicodedata.normalize("NFKC", text[:MAX_TEXT]).replace("\u202f", " ")
    dates: set[date] = set()
    for pattern, order in ((_ISO, "ymd"), (_DAY_FIRST, "dmy"), (_MONTH_FIRST, "mdy"), (_DOTTED, "dmy")):
        plain = pattern.sub(partial(_keep, order=order, dates=dates), plain)
    plain = _CURRENCY.sub(" ", plain)
    plain = _WORD.sub(lambda match: match[0] if match[0].isdigit() else "x", plain)
    return {_cents(match) for match in _NUMBER.finditer(plain)}, dates


def _keep(match: re.Match[str], order: str, dates: set[date]) -> str:
    parts = dict(zip(order, match.groups(), strict=True))
    month = parts["m"].lower()
    number = int(month) if month.isdigit() else 1 + next(n for n, name in enumerate(MONTHS) if name[:3] == month[:3])
    try:
        dates.add(date(int(parts["y"]), number, int(parts["d"])))
    except ValueError:
        return match[0]
    return " "


def _cents(match: re.Match[str]) -> int:
    whole = re.sub(r"\D", "", match[1])
    return int(whole) * 100 + int((match[3] or "0").ljust(2, "0"))
