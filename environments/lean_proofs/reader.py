"""The little language of statements that can be tried without Lean: read once, computed for any values.

Numbers, truth values, lists of numbers; `∀ ∃ ¬ ∧ ∨ → ↔`, comparisons, `+ - * / % ^ ++ ∈`, `.length .map .reverse`,
`fun`, and functions that the caller brings.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from environments.lean_proofs.lexer import Token, tokens

Scope = dict[str, Any]
Thunk = Callable[[Scope], Any]

SAMPLES: dict[str, list[Any]] = {
    "Nat": list(range(6)),
    "Int": list(range(-4, 5)),
    "Prop": [False, True],
    "List Nat": [[], [0], [1], [2, 1], [1, 1, 3], [50, 60, 7]],
}
WIDE = {"Nat": [*range(60), 100, 240, 1000, 2000], "Int": [*range(-20, 60)]}
"""What an existential may choose from."""

_LEVELS = (
    ("↔",),
    ("→",),
    ("∨",),
    ("∧",),
    ("=", "≠", "<", "≤", ">", "≥", "∈"),
    ("++",),
    ("+", "-"),
    ("*", "/", "%"),
    ("^",),
)
_RIGHT = ("→", "∨", "∧", "^", "++")
_STOP = frozenset({")", "⟩", ",", "]", ":", "=>"})


class Unreadable(ValueError):
    """A statement beyond the small language that is tried here."""


class NatInt(int):
    """A number of type Nat: its subtraction ends at 0."""


def _joined(found: list[Token]) -> Iterator[Token]:
    """`++` is one word here."""
    place = 0
    while place < len(found):
        token = found[place]
        after = found[place + 1] if place + 1 < len(found) else token
        if token.text == after.text == "+" and after.start == token.start + 1:
            yield token._replace(text="++")
            place += 2
        else:
            yield token
            place += 1


class Reader:
    """Recursive descent with one function for each level of binding."""

    def __init__(self, statement: str, functions: dict[str, Callable[..., Any]]) -> None:
        self._found = list(_joined(tokens(statement)))
        self._place = 0
        self._functions = functions

    def theorem(self) -> tuple[dict[str, str], list[Thunk], Thunk]:
        """Variables with their types, givens, claim."""
        self._take("theorem")
        self._next()
        variables: dict[str, str] = {}
        givens: list[Thunk] = []
        while self._see() == "(":
            self._next()
            names = [self._next()]
            while self._see() != ":":
                names.append(self._next())
            self._take(":")
            start = self._place
            kind = self._type()
            if kind and self._see() == ")":
                variables |= dict.fromkeys(names, kind)
            else:
                self._place = start
                givens.append(self.term())
            self._take(")")
        self._take(":")
        claim = self.term()
        if self._see():
            raise Unreadable(f"after the claim stands {self._see()!r}")
        return variables, givens, claim

    def term(self, level: int = 0) -> Thunk:
        """A term whose operators bind at least as strongly as this level."""
        if level == len(_LEVELS):
            return self._prefix()
        left = self.term(level + 1)
        while self._see() in _LEVELS[level]:
            sign = self._next()
            right = self.term(level if sign in _RIGHT else level + 1)
            left = _binary(sign, left, right)
        return left

    def _prefix(self) -> Thunk:
        sign = self._see()
        if sign == "¬":
            self._next()
            inner = self._prefix()
            return lambda scope: not inner(scope)
        if sign == "-":
            self._next()
            number = self._prefix()
            return lambda scope: -number(scope)
        if sign in ("∀", "∃"):
            return self._quantified(self._next())
        if sign == "fun":
            self._next()
            name = self._next()
            self._take("=>")
            body = self.term()
            return lambda scope: lambda value: body({**scope, name: value})
        return self._applied()

    def _quantified(self, sign: str) -> Thunk:
        names = [self._next()]
        while self._see() not in (":", "∈"):
            names.append(self._next())
        how = self._next()
        place: Thunk
        if how == "∈":
            place = self.term(5)
        else:
            kind = self._type()
            values = WIDE.get(kind, SAMPLES.get(kind, [])) if sign == "∃" else SAMPLES.get(kind, [])
            values = [NatInt(value) for value in values] if kind == "Nat" else values
            if not values:
                raise Unreadable(f"no samples of type {kind}")
            place = lambda scope: values  # noqa: E731
        self._take(",")
        body = self.term()
        choose = all if sign == "∀" else any
        return lambda scope: choose(
            body({**scope, **dict(zip(names, chosen, strict=True))})
            for chosen in itertools.product(place(scope), repeat=len(names))
        )

    def _applied(self) -> Thunk:
        head = self._atom()
        while (text := self._see()) and (text == "(" or self._starts_atom()):
            argument = self._atom()
            head = _call(head, argument)
        return head

    def _starts_atom(self) -> bool:
        token = self._found[self._place]
        return token.kind in ("name", "number") and token.text not in _STOP

    def _atom(self) -> Thunk:
        token = self._token()
        if token.kind == "number":
            value = NatInt(int(token.text))
            found: Thunk = lambda scope: value  # noqa: E731
        elif token.text == "(":
            found = self.term()
            self._take(")")
        elif token.kind == "name":
            name, *fields = token.parts
            found = self._name(name)
            for field in fields:
                found = self._field(found, field)
        else:
            raise Unreadable(f"{token.text!r} begins no term")
        while self._place < len(self._found) and self._found[self._place].kind == "field":
            for field in self._token().parts:
                found = self._field(found, field)
        return found

    def _name(self, name: str) -> Thunk:
        function = self._functions.get(name)
        if function is not None:
            return lambda scope: lambda value: NatInt(function(value))
        return lambda scope: scope[name]

    def _field(self, target: Thunk, field: str) -> Thunk:
        if field == "length":
            return lambda scope: NatInt(len(target(scope)))
        if field == "reverse":
            return lambda scope: target(scope)[::-1]
        if field == "map":
            rule = self._atom()
            return lambda scope: [rule(scope)(value) for value in target(scope)]
        raise Unreadable(f"no `.{field}` here")

    def _type(self) -> str:
        """A type, `Nat → Nat` at most; "" where none stands here."""
        if self._see() not in ("Nat", "Int", "Prop", "List"):
            return ""
        said = self._next()
        if said == "List":
            said = f"List {self._next()}"
        while self._see() == "→":
            self._next()
            said = f"{said} → {self._next()}"
        return said

    def _see(self) -> str:
        return self._found[self._place].text if self._place < len(self._found) else ""

    def _token(self) -> Token:
        if self._place >= len(self._found):
            raise Unreadable("the statement ends in the middle")
        self._place += 1
        return self._found[self._place - 1]

    def _next(self) -> str:
        return self._token().text

    def _take(self, text: str) -> None:
        if (said := self._next()) != text:
            raise Unreadable(f"{said!r} stands where {text!r} should")


def _call(head: Thunk, argument: Thunk) -> Thunk:
    return lambda scope: head(scope)(argument(scope))


def _binary(sign: str, left: Thunk, right: Thunk) -> Thunk:
    if sign == "→":
        return lambda scope: not left(scope) or bool(right(scope))
    if sign == "∧":
        return lambda scope: bool(left(scope)) and bool(right(scope))
    if sign == "∨":
        return lambda scope: bool(left(scope)) or bool(right(scope))
    operate = _OPERATORS[sign]
    return lambda scope: operate(left(scope), right(scope))


def _number(first: int, second: int, value: int) -> int:
    """The result is a Nat where both are (a numeral is one until an Int stands beside it)."""
    if isinstance(first, NatInt) and isinstance(second, NatInt):
        return NatInt(max(0, value))
    return value


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "↔": lambda a, b: bool(a) == bool(b),
    "=": lambda a, b: a == b,
    "≠": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "≤": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    "≥": lambda a, b: a >= b,
    "∈": lambda a, b: a in b,
    "++": lambda a, b: a + b,
    "+": lambda a, b: _number(a, b, a + b),
    "-": lambda a, b: _number(a, b, a - b),
    "*": lambda a, b: _number(a, b, a * b),
    "/": lambda a, b: _number(a, b, _quotient(a, b)),
    "%": lambda a, b: _number(a, b, a - b * _quotient(a, b)),
    "^": lambda a, b: _number(a, b, a**b),
}


def _quotient(a: int, b: int) -> int:
    """Lean's division: rounded so that the remainder is never negative; by 0 it is 0."""
    if b == 0:
        return 0
    return (a - a % abs(b)) // b
