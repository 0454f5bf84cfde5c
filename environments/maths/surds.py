r"""Finished exact values, read exactly: sums of rational multiples of 1, roots and π, perhaps over a whole number.

    \frac{3+2\sqrt{5}}{4}, 6\sqrt{13}, \frac{9\pi}{2}, \sqrt{\frac{5}{4}}   ─▶  {1: 3/4, √5: 1/2}, …

`exact_sum` reads nothing that still has to be calculated: no powers, no products of numbers, no root of a sum.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from fractions import Fraction

from environments.maths.exact import plain_number, tidy

MAX_RADICAND = 10**9
PI = 0
"""The unit of multiples of π; every other unit is the square-free number under its root, 1 for rational parts."""

_SPACING = re.compile(r"\\[,;:! ]|\\left|\\right|\s+")
_TIMES = re.compile(r"(?:\\cdot|\\times|\*)(?=\\(?:sqrt|pi)|π)")
_NUMBER = r"\d+(?:\.\d+)?|\\frac\{\d+\}\{\d+\}"
_UNIT = r"\\sqrt\{(?P<root>\d+)\}|\\sqrt(?P<digit>\d)|\\sqrt\{\\frac\{(?P<above>\d+)\}\{(?P<below>\d+)\}\}|\\pi|π"
_TERM = re.compile(rf"(?P<coefficient>{_NUMBER})?(?P<unit>{_UNIT})?(?:/(?P<over>\d+))?")
_FRACTION = re.compile(r"([+-]?)\\frac\{(.+)\}\{(\d+)\}")
_SLASHED = re.compile(r"([+-]?)\((.+)\)/(\d+)")


def exact_sum(text: str) -> dict[int, Fraction] | None:
    """The value by units, zero parts left out; None for anything that is not finished. Equal values, equal dicts."""
    bare = _TIMES.sub("", _SPACING.sub("", tidy(text)))
    if len(bare) > 200 or not bare.replace("π", "").isascii():
        return None
    total: dict[int, Fraction] = {}
    for part, scale in _parts(bare):
        for sign, term in _terms(part):
            value = _term(term)
            if value is None:
                return None
            unit, amount = value
            total[unit] = total.get(unit, Fraction(0)) + sign * scale * amount
    return {unit: amount for unit, amount in total.items() if amount}


def latex_of(value: dict[int, Fraction]) -> str:
    r"""`{1: 3/4, 5: 1/2}` as `\frac{3+2\sqrt{5}}{4}`."""
    below = math.lcm(*(amount.denominator for amount in value.values()))
    terms = [_latex_term(unit, int(amount * below)) for unit, amount in sorted(value.items(), key=_order)]
    above = "".join(terms).removeprefix("+") or "0"
    if below == 1:
        return above
    if len(terms) == 1 and above.startswith("-"):
        return f"-\\frac{{{above[1:]}}}{{{below}}}"
    return f"\\frac{{{above}}}{{{below}}}"


def root(number: int | Fraction) -> dict[int, Fraction]:
    """The square root of a number that is not negative."""
    square = Fraction(number)
    inside = square.numerator * square.denominator
    outside, rest = _square_free(inside)
    return {rest: Fraction(outside, square.denominator)} if inside else {}


def _parts(text: str) -> Iterator[tuple[str, Fraction]]:
    """The whole text, or the numerator of a fraction that is all of it."""
    for pattern in (_FRACTION, _SLASHED):
        found = pattern.fullmatch(text)
        if found and _closed(found[2]) and int(found[3]):
            yield found[2], Fraction(-1 if found[1] == "-" else 1, int(found[3]))
            return
    yield text, Fraction(1)


def _closed(text: str) -> bool:
    depth = 0
    for mark in text:
        depth += (mark in "{(") - (mark in "})")
        if depth < 0:
            return False
    return depth == 0


def _terms(text: str) -> list[tuple[int, str]]:
    """Signs and terms of a sum; a sign inside braces is none of it."""
    signed = text if text[:1] in ("+", "-") else "+" + text
    pieces = re.split(r"([+-])", signed)[1:]
    return [(-1 if sign == "-" else 1, term) for sign, term in zip(pieces[::2], pieces[1::2], strict=True)]


def _term(text: str) -> tuple[int, Fraction] | None:
    divided = _FRACTION.fullmatch(text)
    if divided and not divided[1] and plain_number(text) is None and int(divided[3]):
        inner = _term(divided[2])
        return None if inner is None else (inner[0], inner[1] / int(divided[3]))
    found = _TERM.fullmatch(text)
    if not text or not found or not (found["coefficient"] or found["unit"]):
        return None
    if found["over"] and not int(found["over"]):
        return None
    coefficient = plain_number(found["coefficient"]) if found["coefficient"] else Fraction(1)
    unit = _unit(found)
    if coefficient is None or unit is None:
        return None
    return unit[0], unit[1] * coefficient / int(found["over"] or 1)


def _unit(found: re.Match[str]) -> tuple[int, Fraction] | None:
    if not found["unit"]:
        return 1, Fraction(1)
    if found["unit"] in ("\\pi", "π"):
        return PI, Fraction(1)
    above, below = int(found["root"] or found["digit"] or found["above"]), int(found["below"] or 1)
    if not below or above * below > MAX_RADICAND:
        return None
    outside, rest = _square_free(above * below)
    return rest or 1, Fraction(outside, below)


def _square_free(number: int) -> tuple[int, int]:
    """(a, b) with number = a² · b and b without a square factor; (0, 0) for 0."""
    if not number:
        return 0, 0
    outside, rest, factor = 1, number, 2
    while factor * factor <= rest:
        while rest % (factor * factor) == 0:
            rest //= factor * factor
            outside *= factor
        factor += 1
    return outside, rest


def _order(item: tuple[int, Fraction]) -> int:
    return item[0] if item[0] != PI else MAX_RADICAND


def _latex_term(unit: int, amount: int) -> str:
    sign = "-" if amount < 0 else "+"
    if unit == 1:
        return f"{sign}{abs(amount)}"
    name = "\\pi" if unit == PI else f"\\sqrt{{{unit}}}"
    return f"{sign}{abs(amount) if abs(amount) != 1 else ''}{name}"
