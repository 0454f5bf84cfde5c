"""Expressions that came with a row, run for a bounded time; both gradings read a reply with them.

Python's own compiler decides whether an expression is one, `regex` (same syntax, with a time limit of its own) runs it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator

import regex

SECONDS = 1.0
MAX_PATTERN = 2_000


class Slow(ValueError):
    """The expression did not finish on this text."""


def found(pattern: str, text: str) -> list[str]:
    """Of each match the first group that holds more than space, else the whole of it, stripped.

    Multi-line, and a dot matches line breaks; nothing for an expression that cannot be compiled. Raises `Slow`.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of syntax that may change one day
            re.compile(pattern, re.MULTILINE | re.DOTALL)
        return list(_matches(pattern, text))
    except (re.error, regex.error, OverflowError, RecursionError):
        return []
    except TimeoutError:
        raise Slow(f"an expression of the row was not decided in {SECONDS:g} s") from None


def _matches(pattern: str, text: str) -> Iterator[str]:
    for match in regex.finditer(pattern, text, regex.MULTILINE | regex.DOTALL, timeout=SECONDS):
        groups = (group for group in match.groups() if isinstance(group, str) and group.strip())
        yield next(groups, match.group(0)).strip()
