"""Lists, functions and quantifiers: lengths, members, values of functions that are known by a rule."""

from __future__ import annotations

import random

from environments.lean_proofs.theorem import Theorem

_LENGTHS = "simp only [List.length_append, List.length_map, List.length_reverse] <;> omega"
_LISTS = ("xs", "ys", "zs")


def lengths(rng: random.Random, size: int) -> Theorem:
    """The length of lists put together, mapped and turned around."""
    names = list(_LISTS[: 2 + (size > 3)])
    parts = [rng.choice(names) for _ in range(2 + size // 2)]
    texts = []
    for part in parts:
        how = rng.randrange(3)
        mapped = f"({part}.map (fun v => v + {rng.randint(1, 9)}))"
        texts.append(part if how == 0 else f"{part}.reverse" if how == 1 else mapped)
    counts = {name: parts.count(name) for name in names if name in parts}
    more = rng.randint(0, 20)
    right = " + ".join(f"{count} * {name}.length" for name, count in counts.items())
    claim = f"({' ++ '.join(texts)}).length + {more} = {right} + {more}"
    return Theorem("length_of_parts", claim, (_LENGTHS,), f"({' '.join(names)} : List Nat)")


def members(rng: random.Random, size: int) -> Theorem:
    """Where a member of two lists put together comes from, with a bound on each."""
    low, high = rng.randint(1, 30), rng.randint(31, 90)
    first, second = rng.sample(_LISTS, 2)
    given = f"(h1 : ∀ v ∈ {first}, {low} ≤ v) (h2 : ∀ v ∈ {second}, {high} ≤ v)"
    tactics = (
        "intro v hv",
        "rcases List.mem_append.mp hv with h | h",
        "· exact h1 v h",
        "· exact Nat.le_trans (by decide) (h2 v h)",
    )
    claim = f"∀ v ∈ {first} ++ {second}, {low} ≤ v"
    return Theorem("bound_of_members", claim, tactics, f"({first} {second} : List Nat) {given}")


def functions(rng: random.Random, size: int) -> Theorem:
    """A value of two functions that are known by rules."""
    a, b, factor, at = rng.randint(1, 30), rng.randint(1, 30), rng.randint(2, 9), rng.randint(0, 40)
    given = f"(hf : ∀ v : Nat, f v = {factor} * g v + {a}) (hg : ∀ v : Nat, g v = v + {b})"
    tactics = (f"have h1 := hf {at}", f"have h2 := hg {at}", "omega")
    claim = f"f {at} = {factor * (at + b) + a}"
    rules = {"f": lambda v: factor * (v + b) + a, "g": lambda v: v + b}
    return Theorem("value_by_rules", claim, tactics, f"(f g : Nat → Nat) {given}", functions=rules)


def quantified(rng: random.Random, size: int) -> Theorem:
    """For every number there is a larger one of a kind."""
    step, rest = rng.randint(2, 40), rng.randint(0, 39)
    rest %= step
    claim = f"∀ n : Nat, ∃ m : Nat, n < m ∧ m % {step} = {rest}"
    proof = f"exact fun n => ⟨{step} * (n + 1) + {rest}, by omega⟩"
    return Theorem("always_a_larger_one", claim, (proof,))
