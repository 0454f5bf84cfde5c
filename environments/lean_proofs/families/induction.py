"""Functions defined here, by recursion over numbers and lists, and what induction shows of them."""

from __future__ import annotations

import random
from collections.abc import Callable

from environments.lean_proofs.theorem import Theorem

_NAMES = ("f", "g", "seq", "grow", "count", "level", "stock", "fuel", "steps", "debt")
_TOTALS = ("total", "sum", "weight", "price", "load", "mass")


def _recursion(name: str, start: int, step: str) -> str:
    return f"def {name} : Nat → Nat\n  | 0 => {start}\n  | n + 1 => {step}\n\n"


def _affine(start: int, step: int) -> Callable[[int], int]:
    return lambda n: start + step * n


def linear(rng: random.Random, size: int) -> Theorem:
    """A function that grows by the same at each step, in closed form."""
    name, start, step = rng.choice(_NAMES), rng.randint(0, 40), rng.randint(1, 30)
    tactics = (f"induction n with\n| zero => simp [{name}]\n| succ n ih => simp only [{name}, ih] <;> omega",)
    return Theorem(
        "closed_form",
        f"{name} n = {start} + {step} * n",
        tactics,
        "(n : Nat)",
        _recursion(name, start, f"{name} n + {step}"),
        {name: _affine(start, step)},
    )


def doubling(rng: random.Random, size: int) -> Theorem:
    """A function that is multiplied at each step outgrows a line."""
    name, start, factor = rng.choice(_NAMES), rng.randint(1, 40), rng.randint(2, 9)
    tactics = (f"induction n with\n| zero => simp [{name}]\n| succ n ih => simp only [{name}] <;> omega",)
    return Theorem(
        "outgrows",
        f"n + {start} ≤ {name} n",
        tactics,
        "(n : Nat)",
        _recursion(name, start, f"{factor} * {name} n"),
        {name: lambda n: start * factor**n},
    )


def invariant(rng: random.Random, size: int) -> Theorem:
    """What two functions keep between them."""
    first, second = rng.sample(_NAMES, 2)
    a, b, up, down = rng.randint(0, 20), rng.randint(0, 20), rng.randint(1, 12), rng.randint(1, 12)
    claim = f"{down} * {first} n + {up * b} = {up} * {second} n + {down * a}"
    tactics = (
        f"induction n with\n| zero => simp [{first}, {second}]\n| succ n ih => simp only [{first}, {second}] <;> omega",
    )
    return Theorem(
        "invariant_of_two",
        claim,
        tactics,
        "(n : Nat)",
        _recursion(first, a, f"{first} n + {up}") + _recursion(second, b, f"{second} n + {down}"),
        {first: _affine(a, up), second: _affine(b, down)},
    )


def _total(name: str, more: int) -> str:
    each = f"x + {more}" if more else "x"
    return f"def {name} : List Nat → Nat\n  | [] => 0\n  | x :: xs => {each} + {name} xs\n\n"


def total_append(rng: random.Random, size: int) -> Theorem:
    """The total of two lists put together."""
    name, more = rng.choice(_TOTALS), rng.randint(0, 60)
    tactics = (
        f"induction xs with\n| nil => simp [{name}]\n"
        f"| cons x xs ih => simp only [List.cons_append, {name}, ih] <;> omega",
    )
    return Theorem(
        "total_of_append",
        f"{name} (xs ++ ys) = {name} xs + {name} ys",
        tactics,
        "(xs ys : List Nat)",
        _total(name, more),
        {name: lambda values: sum(values) + more * len(values)},
    )


def total_map(rng: random.Random, size: int) -> Theorem:
    """The total when each member grows by the same."""
    name, more, by = rng.choice(_TOTALS), rng.randint(0, 9), rng.randint(1, 30)
    tactics = (
        f"induction xs with\n| nil => simp [{name}]\n"
        f"| cons x xs ih => simp only [List.map_cons, List.length_cons, {name}, ih] <;> omega",
    )
    return Theorem(
        "total_of_map",
        f"{name} (xs.map (fun v => v + {by})) = {name} xs + {by} * xs.length",
        tactics,
        "(xs : List Nat)",
        _total(name, more),
        {name: lambda values: sum(values) + more * len(values)},
    )
