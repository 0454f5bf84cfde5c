"""Kinds of kwargs: what a published row may give, brought into one form, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Kind = Callable[[Any], Any]
"""Takes the row's value, returns it in the form the verifier reads; raises ValueError saying what is wanted."""


def count(value: Any) -> int:
    """A number of things; tables from Parquet give 3.0 for 3."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100_000:
        raise ValueError("a whole number from 0 to 100000")
    return value


def positive(value: Any) -> int:
    number = count(value)
    if number < 1:
        raise ValueError("a whole number of at least 1")
    return number


def at_most(most: int) -> Kind:
    def check(value: Any) -> int:
        number = positive(value)
        if number > most:
            raise ValueError(f"a whole number from 1 to {most}: there are no more")
        return number

    return check


def percentage(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 100:
        raise ValueError("a number from 0 to 100")
    return int(value) if value == int(value) else value


def relation(value: Any) -> str:
    if value not in ("at least", "less than"):
        raise ValueError('"at least" or "less than"')
    return value


def word(value: Any) -> str:
    """A word or phrase; some rows wrap it in a list of one."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a non-empty text")
    return value.strip()


def text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("a non-empty text")
    return value


def words(value: Any) -> list[str]:
    if not isinstance(value, list) or not value:
        raise ValueError("a non-empty list of texts")
    return sorted({word(item) for item in value})


def letter(value: Any) -> str:
    found = value.strip().lower() if isinstance(value, str) else ""
    if len(found) != 1 or not "a" <= found <= "z":
        raise ValueError("one letter from a to z")
    return found


def one_of(choices: frozenset[str]) -> Kind:
    def check(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"one of {', '.join(sorted(choices))}")
        return value

    return check
