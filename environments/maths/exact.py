r"""Plain numbers, read exactly: integers, decimals, fractions, mixed numbers, powers of ten. No rounding."""

from __future__ import annotations

import re
from fractions import Fraction

MAX_EXPONENT = 400
"""Powers of ten beyond this are not plain numbers."""

_NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_PLAIN = re.compile(rf"([+-]?)({_NUMBER})")
_FRACTION = re.compile(
    rf"([+-]?)(?:\\frac\{{([+-]?(?:{_NUMBER}))\}}\{{([+-]?(?:{_NUMBER}))\}}|({_NUMBER})/({_NUMBER}))"
)
_SHORT_FRACTION = re.compile(r"([+-]?)\\frac(\d)(\d)")
_MIXED = re.compile(r"([+-]?)(\d+)\\frac\{(\d+)\}\{(\d+)\}")
_SCIENTIFIC = re.compile(rf"([+-]?(?:{_NUMBER}))(?:\\times|\\cdot)10\^(?:\{{([+-]?\d{{1,4}})\}}|(\d))")
_SPACING = re.compile(r"\\[,;:! ]|\\left|\\right|\\displaystyle|\\(?:quad|qquad)(?![A-Za-z])|~")


def tidy(text: str) -> str:
    r"""One spelling for what means the same: unicode signs, `\dfrac`, `{,}`, delimiters and outer spacing commands."""
    text = text.strip()
    for before, after in (("−", "-"), ("–", "-"), ("×", r"\times"), ("·", r"\cdot"), ("{,}", ",")):
        text = text.replace(before, after)
    text = re.sub(r"\\[dt]frac(?![A-Za-z])", r"\\frac", text)
    while True:
        inner = _undelimited(text.removesuffix(".").strip())
        if inner == text:
            return text
        text = inner


def _undelimited(text: str) -> str:
    for opening, closing in ((r"\(", r"\)"), (r"\[", r"\]"), ("$$", "$$"), ("$", "$")):
        if len(text) >= len(opening) + len(closing) and text.startswith(opening) and text.endswith(closing):
            return text[len(opening) : len(text) - len(closing)].strip()
    return text


def plain_number(text: str) -> Fraction | None:
    """The exact value of a plain number, or None for anything else. `text` is tidy."""
    if re.search(r"[\d.]\s+[\d.]", text):
        return None
    bare = re.sub(r"\s+", "", _SPACING.sub("", text))
    if len(bare) > 2000 or not bare.isascii():
        return None
    while bare.startswith("{") and bare.endswith("}"):
        bare = bare[1:-1]
    return _whole(bare) or _ratio(bare) or _mixed(bare) or _power_of_ten(bare)


def _value(digits: str) -> Fraction:
    return Fraction(digits.replace(",", ""))


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


class _Found(Fraction):
    """A fraction that is true even when it is zero, so that `or` chains of readers stay readable."""

    def __bool__(self) -> bool:
        return True


def _whole(text: str) -> _Found | None:
    found = _PLAIN.fullmatch(text)
    return _Found(_signed(found[1], _value(found[2]))) if found else None


def _ratio(text: str) -> _Found | None:
    found = _FRACTION.fullmatch(text)
    if found:
        above, below = _value(found[2] or found[4]), _value(found[3] or found[5])
    else:
        found = _SHORT_FRACTION.fullmatch(text)
        if not found:
            return None
        above, below = _value(found[2]), _value(found[3])
    return _Found(_signed(found[1], above / below)) if below else None


def _mixed(text: str) -> _Found | None:
    found = _MIXED.fullmatch(text)
    if not found or not int(found[4]):
        return None
    return _Found(_signed(found[1], int(found[2]) + Fraction(int(found[3]), int(found[4]))))


def _power_of_ten(text: str) -> _Found | None:
    found = _SCIENTIFIC.fullmatch(text)
    if not found:
        return None
    exponent = int(found[2] or found[3])
    if abs(exponent) > MAX_EXPONENT:
        return None
    return _Found(_value(found[1]) * Fraction(10) ** exponent)
