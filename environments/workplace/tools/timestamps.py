"""Times as the published tools read them: ISO 8601 in its usual spellings, and a few everyday ones.

The public server reads times with pandas, which guesses more (words like "now", other calendars). Those are refused.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

FORMATS = (
    "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y/%m/%d %H:%M:%S", "%Y/%m/%d %H:%M", "%Y/%m/%d", "%Y-%m-%d",
    "%m/%d/%Y %H:%M:%S", "%m/%d/%Y %H:%M", "%m/%d/%Y", "%B %d, %Y %H:%M:%S", "%B %d, %Y %H:%M", "%B %d, %Y",
    "%B %d %Y", "%d %B %Y", "%b %d, %Y", "%d %b %Y", "%B %d, %Y %I:%M %p", "%Y-%m-%d %I:%M %p", "%Y-%m-%d %I:%M%p",
    "%Y-%m-%d %I%p", "%Y-%m-%d %I %p", "%Y-%m-%dT%H:%M", "%Y-%m", "%Y",
)  # fmt: skip
MAX_LENGTH = 40
_MOST_NS = 2**63


def timestamp(value: Any) -> datetime:
    """The time that a text means, or a number of nanoseconds since 1970. Raises ValueError for a text or a number that
    means none, TypeError for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) < _MOST_NS:
            raise ValueError(f"cannot convert input with unit 'ns': {str(value)[:40]}")
        return datetime(1970, 1, 1) + timedelta(microseconds=int(value) // 1000)
    if not isinstance(value, str):
        raise TypeError(f"Cannot convert input [{str(value)[:40]}] of type {type(value)} to Timestamp")
    return _read(value.strip()[: MAX_LENGTH + 1])


@lru_cache(maxsize=8192)
def _read(text: str) -> datetime:
    if len(text) <= MAX_LENGTH:
        for form in (None, *FORMATS):
            try:
                return datetime.strptime(text, form) if form else datetime.fromisoformat(text)
            except ValueError:
                continue
    raise ValueError(f"Unknown datetime string format, unable to parse: {text}")
