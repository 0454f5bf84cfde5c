"""Times of day as minutes from midnight: read as the public verifier reads them, read strictly, and written."""

from __future__ import annotations

import re

OPENING, CLOSING = 600, 960
"""10:00 and 16:00, the bounds of every day here."""

_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")


def lenient_minutes(text: str) -> int:
    """`10am`, `2:15pm` or `HH:MM`, with every looseness of the public reader: `09:90` is 630, `-1:00` is -60.

    Raises `ValueError` (or `AttributeError` for what is no text) where the public reader does.
    """
    text = text.strip()
    for suffix, offset in (("am", 0), ("pm", 720)):
        if suffix in text:
            return _twelve_hours(text.replace(suffix, "")) + offset
    hours, minutes = map(int, text.split(":"))
    return hours * 60 + minutes


def _twelve_hours(text: str) -> int:
    if ":" not in text:
        hour, minute = int(text), 0
    else:
        hour, minute = map(int, text.split(":"))
    return (0 if hour == 12 else hour * 60) + minute


def strict_minutes(text: object) -> int | None:
    """`HH:MM` of a 24-hour clock in ASCII digits, else None."""
    found = _CLOCK.fullmatch(text) if isinstance(text, str) else None
    return None if found is None else int(found[1]) * 60 + int(found[2])


def clock(minutes: int) -> str:
    """`13:05`."""
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def spoken(minutes: int, gap: str = "") -> str:
    """`1:05pm`, `10am`; with a gap `1:05 pm`."""
    hour, minute = divmod(minutes, 60)
    half = "am" if hour < 12 else "pm"
    shown = (hour - 1) % 12 + 1
    return f"{shown}:{minute:02d}{gap}{half}" if minute else f"{shown}{gap}{half}"
