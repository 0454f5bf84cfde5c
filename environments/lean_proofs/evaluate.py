"""A second route without Lean: read a statement, and try it on small numbers, lists and truth values.

    counterexample("theorem t (n : Nat) (h : 2 ≤ n) : n * n ≤ 4 * n")      ─▶ {"n": 5}

It reads the text that the policy sees, by rules of its own, so a family that says what it does not mean is found.
Binders of propositions are filters. Subtraction of Nat ends at 0, division by 0 is 0, `%` is never negative; `∃` tries
more than `∀`. Small cases prove nothing; they refute.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from environments.lean_proofs.lexer import tokens
from environments.lean_proofs.reader import SAMPLES, NatInt, Reader, Scope, Unreadable
from gym_core.seeds import rng

MAX_CASES = 3000


def counterexample(statement: str, functions: dict[str, Callable[..., Any]] | None = None) -> Scope | None:
    """Values for which the statement is false; None where all that were tried agree. Raises `Unreadable`."""
    reader = Reader(statement, dict(functions or {}))
    variables, givens, claim = reader.theorem()
    for scope in _scopes(variables, statement):
        if all(given(scope) for given in givens) and not claim(scope):
            return scope
    return None


def cases(statement: str, functions: dict[str, Callable[..., Any]] | None = None) -> int:
    """How many of the tried values fulfil the givens. None at all would make the attempt empty."""
    reader = Reader(statement, dict(functions or {}))
    variables, givens, _ = reader.theorem()
    return sum(all(given(scope) for given in givens) for scope in _scopes(variables, statement))


def _scopes(variables: dict[str, str], statement: str) -> Iterator[Scope]:
    """Combinations of samples: all, or as many as fit, drawn by the statement itself."""
    said = [int(token.text) for token in tokens(statement) if token.text.isdigit()]
    pools = [_pool(kind, said) for kind in variables.values()]
    count = 1
    for pool in pools:
        count *= len(pool)
    if count <= MAX_CASES:
        drawn: Iterator[tuple[Any, ...]] = itertools.product(*pools)
    else:
        draw = rng("evaluate", statement)
        drawn = (tuple(draw.choice(pool) for pool in pools) for _ in range(MAX_CASES))
    return (dict(zip(variables, values, strict=True)) for values in drawn)


def _pool(kind: str, said: list[int]) -> list[Any]:
    """Samples of a type, and of numbers those that the statement mentions: givens often leave no other."""
    if kind == "Nat → Nat":
        return [None]  # such a variable is one of `functions`
    if kind not in SAMPLES:
        raise Unreadable(f"no samples of type {kind}")
    if kind == "Nat":
        return [NatInt(value) for value in dict.fromkeys([*SAMPLES[kind], 7, 12, 31, 45, *said])]
    if kind == "Int":
        few = [value for value in said if value <= 30]
        return list(dict.fromkeys([*SAMPLES[kind], *few, *(-value for value in few)]))
    return SAMPLES[kind]
