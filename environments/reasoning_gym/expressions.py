"""Arithmetic that a candidate wrote, read without `eval`: a small tree of numbers, names and operators, or nothing.

Graders of the package hand texts to `eval` or to sympy's parser, which runs Python. Here a text is parsed by `ast`,
every node must be on a list, and constants may not grow beyond what a machine computes in a moment.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable
from fractions import Fraction
from typing import Any

MAX_LENGTH = 8_000
MAX_LITERAL = 100_000
MAX_DIGITS = 2_000
"""Constants with more digits than this are refused before they are computed."""

# fmt: off
FUNCTIONS = frozenset((
    "sin", "cos", "tan", "cot", "sec", "csc", "asin", "acos", "atan", "acot", "sinh", "cosh", "tanh", "asinh", "acosh",
    "atanh", "exp", "log", "ln", "sqrt", "abs", "Abs",
))
# fmt: on
CONSTANTS = frozenset(("pi", "E", "I"))

_INTEGERS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}


def parsed(text: str, longest: int = MAX_LENGTH) -> ast.expr | None:
    """The tree of a text, None where it is none (or a deep or long one)."""
    if len(text) > longest:
        return None
    try:
        return ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


# Sums of given numbers ----------------------------------------------------------------------------------------------


def value_of(text: str) -> tuple[Fraction, list[int]] | None:
    """Value of a text made of whole numbers, `+ - * /` and brackets, and its numbers in order; None otherwise."""
    tree = parsed(text) if "_" not in text else None
    numbers: list[int] = []
    try:
        return None if tree is None else (_exact(tree, numbers), numbers)
    except (ValueError, ZeroDivisionError, RecursionError):
        return None


def _exact(node: ast.expr, numbers: list[int]) -> Fraction:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            numbers.append(value)
            return Fraction(value)
        case ast.UnaryOp(op=ast.USub(), operand=inner):
            return -_exact(inner, numbers)
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() as op, right=right):
            first, second = _exact(left, numbers), _exact(right, numbers)
            if isinstance(op, ast.Div):
                return first / second
            exact: Fraction = _INTEGERS[type(op)](first, second)
            return exact
    raise ValueError("not arithmetic of whole numbers")


# Formulas for sympy -------------------------------------------------------------------------------------------------


def harmless(text: str) -> bool:
    """True for a formula of numbers, single letters, well-known functions and `+ - * / **` that is quick to build."""
    tree = parsed(text)
    if tree is None:
        return False
    try:
        _digits(tree)
    except (ValueError, RecursionError):
        return False
    return True


def _digits(node: ast.expr) -> float | None:
    """How many digits a constant may have, None for what has letters. Raises ValueError for any other node."""
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            return _checked(math.log10(abs(value) + 1) if abs(value) < 1e300 else 301.0)
        case ast.Name(id=name) if len(name) == 1 or name in CONSTANTS:
            return None
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=inner):
            return _digits(inner)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in FUNCTIONS:
            _digits(argument)
            return None
        case ast.BinOp(left=left, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div(), right=right):
            sizes = (_digits(left), _digits(right))
            return None if None in sizes else _checked(sum(size or 0.0 for size in sizes) + 1)
        case ast.BinOp(left=left, op=ast.Pow(), right=right):
            return _power(_digits(left), _digits(right), right)
    raise ValueError("not a formula")


def _power(base: float | None, exponent: float | None, node: ast.expr) -> float | None:
    if exponent is None:
        return None
    if exponent > 2.1:  # more than a hundred
        raise ValueError("an exponent beyond a hundred")
    return None if base is None else _checked(base * 10**exponent)


def _checked(digits: float) -> float:
    if digits > MAX_DIGITS:
        raise ValueError("a constant of very many digits")
    return digits


# What stands in for `eval` in the package ---------------------------------------------------------------------------


def literal(text: Any, *_: Any) -> Any:
    """Value of a Python literal, or of arithmetic of whole numbers with bit operators. Raises ValueError otherwise."""
    tree = parsed(str(text), MAX_LITERAL)
    if tree is None:
        raise ValueError("not a literal")
    try:
        return ast.literal_eval(tree)
    except ValueError:
        return _integer(tree)


def _integer(node: ast.expr) -> int:
    match node:
        case ast.Constant(value=int(value)):
            return value
        case ast.UnaryOp(op=op, operand=inner) if type(op) in _INTEGERS:
            return int(_INTEGERS[type(op)](_integer(inner)))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _INTEGERS:
            first, second = _integer(left), _integer(right)
            if isinstance(op, ast.LShift) and second > 4096:
                raise ValueError("a shift of very many bits")
            value = int(_INTEGERS[type(op)](first, second))
            if value.bit_length() > 65_536:
                raise ValueError("a number of very many bits")
            return value
    raise ValueError("not arithmetic of whole numbers")
