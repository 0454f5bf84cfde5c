r"""How large a number an answer could make a library compute, bounded before anything is computed.

`9^{9^{9^9}}` is eleven characters and more digits than memory. `digits` reads the LaTeX once, counts letters as small
numbers, and returns an upper bound of the decimal digits of any integer that an evaluation could meet.
"""

from __future__ import annotations

import math
import re

MAX_LENGTH = 1000
MAX_DEPTH = 30
MAX_DIGITS = 50_000.0
"""An integer of that many digits is still computed in milliseconds."""

MAX_RECURSION = 100
"""Brackets deeper than this are not followed: their size counts as unbounded."""

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:\.\d+)?|[\^!(){}\[\]]|\S")
_EXPONENT = re.compile(r"\d\s*[eE]\s*[+-]?\d{4}")
_LETTER_DIGITS = math.log10(4.0)
_OPEN, _CLOSE = "({[", ")}]"
_INFINITE = math.inf
_GROWING = frozenset({r"\binom", r"\dbinom", r"\tbinom", r"\Gamma", r"\choose"})
"""Functions that reach the size of a factorial of the argument that follows."""


def monstrous(text: str) -> str:
    """Why this answer is too large to be looked at, or an empty string."""
    if len(text) > MAX_LENGTH:
        return f"longer than {MAX_LENGTH} characters"
    if _depth(text) > MAX_DEPTH:
        return f"nested deeper than {MAX_DEPTH}"
    if digits(text) > MAX_DIGITS:
        return f"a number of more than {MAX_DIGITS:.0f} digits"
    return ""


def _depth(text: str) -> int:
    depth = deepest = 0
    for character in text:
        if character in _OPEN:
            depth += 1
            deepest = max(deepest, depth)
        elif character in _CLOSE:
            depth -= 1
    return deepest


def digits(text: str) -> float:
    """Upper bound of log10 of any number in `text`; infinite where it cannot be bounded."""
    if _depth(text) > MAX_RECURSION or _EXPONENT.search(text):
        return _INFINITE
    total, _ = _group(_TOKEN.findall(text), 0)
    return total


def _group(tokens: list[str], start: int) -> tuple[float, int]:
    """Bound of a run of factors up to its closing bracket, and the index after it."""
    total = 0.0
    position = start
    while position < len(tokens) and tokens[position] not in _CLOSE:
        bound, position = _factor(tokens, position)
        total += bound
    return total, position + 1


def _factor(tokens: list[str], position: int) -> tuple[float, int]:
    """Bound of one atom with the powers and factorials that follow it."""
    bound, position = _atom(tokens, position)
    while position < len(tokens):
        if tokens[position] == "!":
            bound, position = _factorial(bound), position + 1
        elif tokens[position] == "^" and position + 1 < len(tokens) and tokens[position + 1] not in _CLOSE:
            exponent, position = _exponent(tokens, position + 1)
            bound = max(bound, _LETTER_DIGITS) * _power(exponent)
        else:
            break
    return bound, position


def _exponent(tokens: list[str], position: int) -> tuple[float, int]:
    """An exponent is one atom; powers that follow it (`2^3^4`, `2^{3}^{4}`) are counted as a tower."""
    chain = []
    while True:
        bound, position = _atom(tokens, position)
        while position < len(tokens) and tokens[position] == "!":
            bound, position = _factorial(bound), position + 1
        chain.append(bound)
        if position + 1 >= len(tokens) or tokens[position] != "^" or tokens[position + 1] in _CLOSE:
            break
        position += 1
    bound = chain.pop()
    while chain:
        bound = max(chain.pop(), _LETTER_DIGITS) * _power(bound)
    return bound, position


def _atom(tokens: list[str], position: int) -> tuple[float, int]:
    token = tokens[position]
    if token in _OPEN:
        return _group(tokens, position + 1)
    if token[0].isdigit():
        whole = token.split(".")[0].lstrip("0")
        return (math.log10(int(whole[:15])) + max(len(whole) - 15, 0) if whole else 0.0), position + 1
    if token in _GROWING and position + 1 < len(tokens) and tokens[position + 1] not in _CLOSE:
        bound, position = _atom(tokens, position + 1)
        return _factorial(bound), position
    if token in ("!", "^"):
        return _LETTER_DIGITS, position + 1
    if token.isalpha() or (token[0] == "\\" and token[1:].isalpha()):
        return _LETTER_DIGITS, position + 1
    return 0.31, position + 1


def _power(log: float) -> float:
    return _INFINITE if log > 12 else 10.0**log


def _factorial(log: float) -> float:
    """Digits of n! for n = 10**log; a factorial of something small is counted as that of 10."""
    return _power(log) * max(log, 1.0)
