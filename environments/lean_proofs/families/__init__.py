"""Families of theorems over core Lean, by level: arithmetic, logic, lists and functions, induction."""

from __future__ import annotations

import random
from collections.abc import Callable

from environments.lean_proofs.families import arithmetic, induction, lists, logic
from environments.lean_proofs.theorem import Theorem

Family = Callable[[random.Random, int], Theorem]
"""A theorem of this family; the number is its size, from 1."""

LEVELS: tuple[tuple[Family, ...], ...] = (
    (arithmetic.closed, arithmetic.remainder, arithmetic.collect, arithmetic.bound, logic.rearrange),
    (arithmetic.residue, arithmetic.witness, arithmetic.collect, logic.chain, logic.cases, logic.rearrange),
    (arithmetic.system, arithmetic.smaller_modulus, logic.de_morgan, logic.distribute, lists.lengths, lists.quantified),
    (
        arithmetic.division,
        arithmetic.squeeze,
        lists.functions,
        induction.linear,
        induction.total_append,
        logic.classical,
    ),
    (
        induction.doubling,
        induction.invariant,
        induction.total_map,
        arithmetic.all_cases,
        logic.classical,
        lists.members,
    ),
    (induction.invariant, induction.total_map, induction.doubling, arithmetic.system, lists.lengths, logic.chain),
)
"""Families of each level; the last level mixes them at their largest."""


def draw(rng: random.Random, level: int) -> tuple[str, Theorem]:
    """A theorem of this level, and the name of its family."""
    family = rng.choice(LEVELS[level])
    return f"{family.__module__.rpartition('.')[2]}.{family.__name__}", family(rng, level + 1)


def names() -> set[str]:
    """The names of all families."""
    return {f"{family.__module__.rpartition('.')[2]}.{family.__name__}" for level in LEVELS for family in level}
