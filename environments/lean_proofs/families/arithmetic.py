"""Numbers: closed computations, linear identities and systems, remainders, division; by `decide` and `omega`."""

from __future__ import annotations

import random

from environments.lean_proofs.theorem import Theorem

_NAMES = ("x", "y", "z", "n", "m", "k", "a", "b", "c")


def closed(rng: random.Random, size: int) -> Theorem:
    """`37 * 12 + 5 = 449`"""
    a, b, c = (rng.randint(2, 99) for _ in range(3))
    return Theorem("closed_computation", f"{a} * {b} + {c} = {a * b + c}", ("decide",))


def remainder(rng: random.Random, size: int) -> Theorem:
    """`(37 * 12 + 5) % 7 = 1`"""
    a, b, c, m = rng.randint(2, 99), rng.randint(2, 99), rng.randint(0, 99), rng.randint(3, 19)
    return Theorem("closed_remainder", f"({a} * {b} + {c}) % {m} = {(a * b + c) % m}", ("decide",))


def collect(rng: random.Random, size: int) -> Theorem:
    """`3 * x + 2 * y + 5 * x = 8 * x + 2 * y` over Nat or Int, with more variables where it is larger."""
    kind = rng.choice(("Nat", "Int"))
    names = rng.sample(_NAMES, min(2 + size // 2, 4))
    terms = [(rng.randint(1, 12), rng.choice(names)) for _ in range(3 + size)] + [(rng.randint(1, 9), names[0])]
    sums = {name: sum(factor for factor, other in terms if other == name) for name in names}
    left = " + ".join(f"{factor} * {name}" for factor, name in terms)
    right = " + ".join(f"{sums[name]} * {name}" for name in names if sums[name])
    return Theorem("collect_terms", f"{left} = {right}", ("omega",), f"({' '.join(names)} : {kind})")


def bound(rng: random.Random, size: int) -> Theorem:
    """`a ≤ n` gives `b ≤ c * n + d`."""
    low, factor, more = rng.randint(1, 40), rng.randint(2, 12), rng.randint(0, 30)
    name = rng.choice(_NAMES)
    claim = f"{low * factor + more - rng.randint(0, 5)} ≤ {factor} * {name} + {more}"
    return Theorem("lower_bound", claim, ("omega",), f"({name} : Nat) (h : {low} ≤ {name})")


def residue(rng: random.Random, size: int) -> Theorem:
    """`(7 * n + 12) % 7 = 5`"""
    modulus, factor, more = rng.randint(2, 12), rng.randint(1, 5), rng.randint(0, 60)
    name = rng.choice(_NAMES)
    claim = f"({modulus * factor} * {name} + {more}) % {modulus} = {more % modulus}"
    return Theorem("residue_of_multiple", claim, ("omega",), f"({name} : Nat)")


def witness(rng: random.Random, size: int) -> Theorem:
    """`∃ x y : Nat, 3 * x + 5 * y = 31`"""
    a, b, x, y = rng.randint(2, 15), rng.randint(2, 15), rng.randint(0, 12), rng.randint(0, 12)
    first, second = rng.sample(_NAMES, 2)
    claim = f"∃ {first} {second} : Nat, {a} * {first} + {b} * {second} = {a * x + b * y}"
    return Theorem("has_witness", claim, (f"exact ⟨{x}, {y}, by decide⟩",))


def system(rng: random.Random, size: int) -> Theorem:
    """Two linear equations over Int with one solution."""
    while True:
        a, b, c, d = (rng.choice((1, 2, 3, 4, 5, 7)) for _ in range(4))
        if a * d != b * c:
            break
    x, y = rng.randint(-9, 9), rng.randint(-9, 9)
    first, second = rng.sample(_NAMES, 2)
    equations = ((a, b, a * x + b * y), (c, d, c * x + d * y))
    given = " ".join(
        f"(h{number} : {left} * {first} + {right} * {second} = {total})"
        for number, (left, right, total) in enumerate(equations, 1)
    )
    claim = f"{first} = {x} ∧ {second} = {y}"
    return Theorem("linear_system", claim, ("omega",), f"({first} {second} : Int) {given}")


def smaller_modulus(rng: random.Random, size: int) -> Theorem:
    """`n % 12 = 7` gives `n % 4 = 3`."""
    small, factor = rng.randint(2, 9), rng.randint(2, 6)
    rest = rng.randrange(small * factor)
    name = rng.choice(_NAMES)
    claim = f"{name} % {small} = {rest % small}"
    return Theorem("smaller_modulus", claim, ("omega",), f"({name} : Nat) (h : {name} % {small * factor} = {rest})")


def division(rng: random.Random, size: int) -> Theorem:
    """Every number lies between two multiples."""
    divisor, shift = rng.randint(2, 60), rng.randint(0, 20)
    name, quotient = rng.sample(_NAMES, 2)
    inner = f"{divisor} * {quotient} ≤ {name} + {shift} ∧ {name} + {shift} < {divisor} * {quotient} + {divisor}"
    proof = f"exact fun {name} => ⟨({name} + {shift}) / {divisor}, by omega⟩"
    return Theorem("division_with_remainder", f"∀ {name} : Nat, ∃ {quotient} : Nat, {inner}", (proof,))


def squeeze(rng: random.Random, size: int) -> Theorem:
    """Bounds that leave one integer."""
    factor, value = rng.randint(3, 12), rng.randint(-12, 12)
    low, high = factor * value - rng.randint(1, factor - 1), factor * value + rng.randint(1, factor - 1)
    name = rng.choice(_NAMES)
    given = f"(h1 : {low} < {factor} * {name}) (h2 : {factor} * {name} < {high})"
    return Theorem("squeezed", f"{name} = {value}", ("omega",), f"({name} : Int) {given}")


def all_cases(rng: random.Random, size: int) -> Theorem:
    """The remainders that are left by `n % a` are those of `(b * n + c) % a`, one case each."""
    modulus, factor, more = rng.randint(3, 6), rng.randint(2, 9), rng.randint(1, 9)
    name = rng.choice(_NAMES)
    images = sorted({(factor * rest + more) % modulus for rest in range(modulus)})
    claim = " ∨ ".join(f"({factor} * {name} + {more}) % {modulus} = {image}" for image in images)
    return Theorem("possible_remainders", claim, ("omega",), f"({name} : Nat)")
