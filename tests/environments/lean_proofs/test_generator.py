"""Generated theorems: read by a second route without Lean, never refused, and false twins are found false."""

import random
import re

import pytest

from environments.lean_proofs.candidate import read_candidate
from environments.lean_proofs.environment import LeanProofs
from environments.lean_proofs.evaluate import cases, counterexample
from environments.lean_proofs.families import LEVELS, draw, names
from environments.lean_proofs.generator import MODES
from environments.lean_proofs.reader import Unreadable
from environments.lean_proofs.rows import pinned_of
from environments.lean_proofs.screen import refusal
from environments.lean_proofs.statement import pin
from gym_core.environment import Script
from gym_core.generate import make_tasks

ENVIRONMENT = LeanProofs()
TWINS = ("arithmetic.closed", "arithmetic.remainder", "arithmetic.collect", "arithmetic.bound", "arithmetic.residue",
         "arithmetic.smaller_modulus", "induction.linear", "lists.lengths", "lists.functions")  # fmt: skip


def drawn(count=60):
    for level in range(len(LEVELS)):
        for number in range(count):
            yield draw(random.Random(f"{level}-{number}"), level)


def test_there_are_enough_families_and_levels():
    assert len(names()) >= 15 and len(LEVELS) == len(ENVIRONMENT.levels) >= 5
    assert {family for family, _ in drawn(120)} == names()


def test_no_theorem_has_a_counterexample_and_every_family_is_really_tried():
    tried = dict.fromkeys(names(), 0)
    for family, theorem in drawn():
        assert counterexample(theorem.statement, theorem.functions) is None, theorem.statement
        tried[family] += cases(theorem.statement, theorem.functions)
    assert min(tried.values()) > 0


def test_the_proofs_are_let_through_and_keep_their_statement():
    for _, theorem in drawn(30):
        pinned = pin(theorem.header, theorem.statement)
        found = read_candidate(f"```lean4\n{theorem.header}{theorem.statement} :={theorem.proof}\n```", pinned)
        assert found.refused == "" and found.proof == theorem.proof and found.prelude == ""


@pytest.mark.parametrize("family", TWINS)
def test_a_false_twin_is_found_false(family):
    """Another number where the claim says what it comes to, or a bound that is much too high."""
    twins = [theorem for name, theorem in drawn(120) if name == family]
    for theorem in twins:
        if family == "arithmetic.bound":
            claim = re.sub(r"^(\d+)", lambda found: str(int(found[1]) + 50), theorem.claim)
        else:
            left, _, right = theorem.claim.rpartition(" = ")
            claim = f"{left} = {re.sub('[0-9]+', lambda found: str(int(found[0]) + 1), right, count=1)}"
        assert claim != theorem.claim
        twin = theorem.statement.replace(theorem.claim, claim)
        assert counterexample(twin, theorem.functions) is not None, twin
    assert twins


@pytest.mark.parametrize(
    ("statement", "false"),
    [
        ("theorem t (n : Nat) : n - 3 + 3 = n", True),
        ("theorem t (n : Int) : n - 3 + 3 = n", False),
        ("theorem t (n : Int) : 0 ≤ n % 3", False),
        ("theorem t (n : Int) : 3 * (n / 3) + n % 3 = n", False),
        ("theorem t (n : Nat) : n / 0 = 0", False),
        ("theorem t : ∀ n : Nat, ∃ m : Nat, n < m ∧ m % 2 = 1", False),
        ("theorem t : ∃ m : Nat, ∀ n : Nat, n ≤ m ∧ m < 3", True),
        ("theorem t (p q : Prop) : (p → q) → (q → p)", True),
        ("theorem t (p q : Prop) : ¬(p ∨ q) ↔ ¬p ∧ ¬q", False),
        ("theorem t (p q r : Prop) : (p → q → r) ↔ (p ∧ q → r)", False),
        ("theorem t (xs ys : List Nat) : (xs ++ ys).length = xs.length + ys.length", False),
        ("theorem t (xs ys : List Nat) : xs ++ ys = ys ++ xs", True),
        ("theorem t (xs : List Nat) : (xs.map (fun v => v + 1)).reverse = xs.reverse.map (fun v => v + 1)", False),
    ],
)
def test_the_second_route_knows_leans_arithmetic(statement, false):
    assert (counterexample(statement) is not None) is false


@pytest.mark.parametrize(
    "statement", ["theorem t : Nat.Prime 3", "theorem t (x : ℝ) : x = x", "theorem t : (1 = 1", "def f : Nat"]
)
def test_what_it_does_not_know_it_does_not_guess(statement):
    with pytest.raises((Unreadable, KeyError)):
        counterexample(statement)


def test_tasks_pin_what_they_ask_and_hide_the_proof():
    for level in ENVIRONMENT.levels:
        for task in make_tasks(ENVIRONMENT, seed=3, level=level, count=12):
            pinned = pinned_of(task)
            prompt = task.messages[0]["content"]
            assert pinned.statement in prompt and pinned.header.strip() in prompt
            assert "sorry\n```" in prompt and prompt.count(":=") == 1
            offered = [found["name"] for found in task.tools]
            assert offered == {"whole": [], "correct": ["check"], "steps": ["apply_tactic"]}[task["mode"]]
            if level == 0:
                assert task["mode"] == "whole"


def test_the_oracle_plays_every_mode():
    seen = set()
    for level in ENVIRONMENT.levels:
        for task in make_tasks(ENVIRONMENT, seed=4, level=level, count=12):
            script = ENVIRONMENT.oracle(task)
            assert isinstance(script, Script)
            seen.add(task["mode"])
            if task["mode"] == "steps":
                tactics = [str(call.arguments["tactic"]) for call in script.calls]
                assert [call.arguments["state"] for call in script.calls] == list(range(len(tactics)))
                assert "\n".join(tactics) == "\n".join(task["tactics"]) and not refusal("", "\n".join(tactics))
            else:
                assert read_candidate(script.reply, pinned_of(task)).refused == ""
    assert seen == set(MODES)
