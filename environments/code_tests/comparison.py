"""When an output is right. Expected outputs are compared here, in the worker; programs never see them.

strict      lines of the stripped output, word by word: the same text, or the same number written in another way
published   LiveCodeBench's rule: the same line, or the same list of `Decimal`s (so 1_0 is 10 and 007 is 7)
"""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

_NUMBER = re.compile(r"[+-]?(?:0|[1-9][0-9]*)(?:\.[0-9]*)?(?:[eE][+-]?[0-9]{1,4})?")
_LONGEST_NUMBER = 10_000
RELATIVE, ABSOLUTE = 1e-5, 1e-8
"""Tolerance of returned floats, numpy's `allclose`."""


def lines_of(text: str) -> list[str]:
    """Lines of the stripped text, each stripped."""
    return [line.strip() for line in text.strip().split("\n")]


def same_output(expected: str, output: str) -> bool:
    """Strict: as many lines, on each as many words, each the same text or the same number."""
    wanted, given = lines_of(expected), lines_of(output)
    return len(wanted) == len(given) and all(map(_same_line, wanted, given))


def _same_line(wanted: str, given: str) -> bool:
    if wanted == given:
        return True
    words, said = wanted.split(), given.split()
    return len(words) == len(said) and all(map(_same_word, words, said))


def _same_word(wanted: str, given: str) -> bool:
    if wanted == given:
        return True
    if max(len(wanted), len(given)) > _LONGEST_NUMBER:
        return False
    if not (_NUMBER.fullmatch(wanted) and _NUMBER.fullmatch(given)):
        return False
    return Decimal(wanted) == Decimal(given)


def same_output_published(expected: str, output: str) -> bool:
    """LiveCodeBench: as many lines, each the same text or, word by word, equal as `Decimal`."""
    wanted, given = lines_of(expected), lines_of(output)
    if len(wanted) != len(given):
        return False
    try:
        return all(line == said or _decimals(said) == _decimals(line) for line, said in zip(wanted, given, strict=True))
    except (InvalidOperation, ValueError):
        return False


def _decimals(line: str) -> list[Decimal]:
    return [Decimal(word) for word in line.split()]


def same_value(expected: Any, given: Any) -> bool:
    """Strict, for decoded JSON: the same type and value; where a float is expected, a number close to it."""
    if isinstance(expected, bool) or isinstance(given, bool) or expected is None or given is None:
        return expected is given
    if isinstance(expected, float) and isinstance(given, int | float):
        return _close(expected, given)
    if isinstance(expected, int) and isinstance(given, int | float):
        return expected == given
    if isinstance(expected, list) and isinstance(given, list):
        return len(expected) == len(given) and all(map(same_value, expected, given))
    if isinstance(expected, dict) and isinstance(given, dict):
        return expected.keys() == given.keys() and all(same_value(expected[key], given[key]) for key in expected)
    return isinstance(expected, str) and expected == given


def _close(expected: float, given: float) -> bool:
    try:
        return isfinite(given) and abs(given - expected) <= ABSOLUTE + RELATIVE * abs(expected)
    except OverflowError:  # an integer that no float can hold
        return False


def same_value_published(expected: Any, given: Any) -> bool:
    """Published: equal, or the same JSON text, or floats (also in lists of one shape) that are close."""
    if expected == given or json.dumps(expected) == json.dumps(given):
        return True
    try:
        return _all_close(expected, given)
    except OverflowError:
        return False


def _all_close(expected: Any, given: Any) -> bool:
    if isinstance(expected, list) and isinstance(given, list):
        return bool(expected) and len(expected) == len(given) and all(map(_all_close, expected, given))
    if isinstance(expected, int | float) and isinstance(given, int | float):
        return abs(given - expected) <= ABSOLUTE + RELATIVE * abs(expected)
    return False
