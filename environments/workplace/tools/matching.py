"""How searches compare: plain text, any case. The public tools run the model's words as a regular expression."""

from __future__ import annotations

import re
from typing import Any

MAX_QUERY = 1000

EMAIL = re.compile(r"[a-zA-Z0-9._%+-]{1,128}@[a-zA-Z0-9-]{1,63}(\.[a-zA-Z0-9-]{1,63}){0,8}\.[a-zA-Z]{2,63}")


def contains(value: Any, wanted: Any) -> bool:
    """True where the text contains the words. Raises TypeError for what is no text, ValueError for a very long one."""
    if not isinstance(wanted, str):
        raise TypeError("first argument must be string or compiled pattern")
    if len(wanted) > MAX_QUERY:
        raise ValueError(f"a query has at most {MAX_QUERY} characters")
    return isinstance(value, str) and wanted.casefold() in value.casefold()


def is_email(value: Any) -> bool:
    if not isinstance(value, str):
        raise TypeError("expected string or bytes-like object")
    return len(value) <= 320 and EMAIL.fullmatch(value) is not None


def between(value: Any, low: Any, high: Any) -> bool:
    """True where the text lies between two texts; None or "" leaves a side open."""
    if not isinstance(value, str):
        return False
    return not (low and value < low) and not (high and value > high)
