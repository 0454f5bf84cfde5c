"""Propositions: a law with its proof term, whose letters stand for drawn formulas; the proof holds for any of them."""

from __future__ import annotations

import random

from environments.lean_proofs.theorem import Theorem

_LETTERS = ("p", "q", "r", "s", "t", "u")


def _formulas(rng: random.Random, count: int, size: int) -> tuple[str, list[str]]:
    """Binder of the letters, and so many formulas over them, each in brackets where it is not a letter."""
    letters = sorted(rng.sample(_LETTERS, min(len(_LETTERS), count + 1)))
    found: list[str] = []
    while len(found) < count:
        formula = _formula(rng, letters, 1 if size < 3 else 2)
        if formula not in found:
            found.append(formula)
    return f"({' '.join(letters)} : Prop)", found


def _formula(rng: random.Random, letters: list[str], depth: int) -> str:
    if depth == 0 or rng.random() < 0.35:
        return rng.choice(letters)
    if rng.random() < 0.2:
        return f"(¬{_formula(rng, letters, depth - 1)})"
    left, right = _formula(rng, letters, depth - 1), _formula(rng, letters, depth - 1)
    return f"({left} {rng.choice('∧∨→')} {right})"


def rearrange(rng: random.Random, size: int) -> Theorem:
    """A conjunction in another order."""
    count = 3 + size // 2
    binder, parts = _formulas(rng, count, size)
    order = rng.sample(range(count), count)
    names = [f"h{number}" for number in range(count)]
    claim = f"{' ∧ '.join(parts)} → {' ∧ '.join(parts[number] for number in order)}"
    proof = f"exact fun ⟨{', '.join(names)}⟩ => ⟨{', '.join(names[number] for number in order)}⟩"
    return Theorem("rearrange_conjunction", claim, (proof,), binder)


def chain(rng: random.Random, size: int) -> Theorem:
    """Implications that lead from one formula to another, told in any order."""
    count = 3 + size // 2
    binder, parts = _formulas(rng, min(count, 5), size)
    steps = [(f"h{number}", parts[number], parts[number + 1]) for number in range(len(parts) - 1)]
    proof = "h"
    for name, _, _ in steps:
        proof = f"{name} {proof if proof == 'h' else f'({proof})'}"
    told = " ".join(f"({name} : {left} → {right})" for name, left, right in rng.sample(steps, len(steps)))
    return Theorem("chain_of_implications", parts[-1], (f"exact {proof}",), f"{binder} {told} (h : {parts[0]})")


def cases(rng: random.Random, size: int) -> Theorem:
    """A disjunction each of whose members leads to the same."""
    count = 2 + size // 2
    binder, parts = _formulas(rng, min(count, 4) + 1, size)
    members, goal = parts[:-1], parts[-1]
    given = " ".join(f"(h{number} : {member} → {goal})" for number, member in enumerate(members))
    split = f"rcases h with {' | '.join('h' for _ in members)}"
    ends = tuple(f"· exact h{number} h" for number in range(len(members)))
    return Theorem("proof_by_cases", goal, (split, *ends), f"{binder} {given} (h : {' ∨ '.join(members)})")


def de_morgan(rng: random.Random, size: int) -> Theorem:
    """`¬(p ∨ q ∨ r) ↔ ¬p ∧ ¬q ∧ ¬r`"""
    count = 2 + size // 2
    binder, parts = _formulas(rng, min(count, 4), size)
    count = len(parts)
    claim = f"¬({' ∨ '.join(parts)}) ↔ {' ∧ '.join(f'¬{part}' for part in parts)}"
    inside = ", ".join(f"fun g => h ({_injection(number, count, 'g')})" for number in range(count))
    names = [f"n{number}" for number in range(count)]
    back = [f"rcases h with {' | '.join('h' for _ in parts)}", *(f"· exact {name} h" for name in names)]
    tactics = (
        "constructor",
        f"· intro h\n  exact ⟨{inside}⟩",
        "\n  ".join((f"· intro ⟨{', '.join(names)}⟩ h", *back)),
    )
    return Theorem("de_morgan", claim, tactics, binder)


def distribute(rng: random.Random, size: int) -> Theorem:
    """`p ∧ (q ∨ r) ↔ (p ∧ q) ∨ (p ∧ r)`"""
    binder, (p, q, r) = _formulas(rng, 3, size)
    claim = f"{p} ∧ ({q} ∨ {r}) ↔ ({p} ∧ {q}) ∨ ({p} ∧ {r})"
    tactics = (
        "constructor",
        "· intro ⟨hp, h⟩\n  rcases h with h | h\n  · exact Or.inl ⟨hp, h⟩\n  · exact Or.inr ⟨hp, h⟩",
        "· intro h\n  rcases h with h | h\n  · exact ⟨h.1, Or.inl h.2⟩\n  · exact ⟨h.1, Or.inr h.2⟩",
    )
    return Theorem("distribute", claim, tactics, binder)


def classical(rng: random.Random, size: int) -> Theorem:
    """Laws that need the excluded middle."""
    binder, (p, q) = _formulas(rng, 2, size)
    claim, proof = rng.choice(
        (
            (f"(({p} → {q}) → {p}) → {p}", "fun h => Classical.byContradiction fun n => n (h fun g => absurd g n)"),
            (f"¬¬{p} → {p}", "fun h => Classical.byContradiction h"),
            (f"(¬{q} → ¬{p}) → ({p} → {q})", "fun h g => Classical.byContradiction fun n => h n g"),
            (
                f"({p} → {q}) → ¬{p} ∨ {q}",
                "fun h => (Classical.em _).elim (fun g => Or.inr (h g)) (fun n => Or.inl n)",
            ),
        )
    )
    return Theorem("classical_law", claim, (f"exact {proof}",), binder)


def _injection(number: int, count: int, inner: str) -> str:
    """`Or.inr (Or.inl g)`: this member of a disjunction of so many."""
    found = inner if number == count - 1 else f"Or.inl {inner}"
    for _ in range(number):
        found = f"Or.inr {found if found == inner else f'({found})'}"
    return found
