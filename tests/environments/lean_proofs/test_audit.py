"""The audit, its cage and its limits, with a program that has the manners of Lean; then with Lean where it is."""

import asyncio
import json
import random
import re
import shutil

import pytest

from environments.lean_proofs.audit import ALLOWED, audit, candidate_file, read_axioms
from environments.lean_proofs.candidate import Candidate, read_candidate
from environments.lean_proofs.confined import Cage, Limits
from environments.lean_proofs.families import LEVELS
from environments.lean_proofs.protocol import Message, Pos
from environments.lean_proofs.prover import Compiled, LeanFault, Prover
from environments.lean_proofs.statement import pin
from gym_core.errors import DeadlineExceeded, Unavailable
from gym_core.sandbox.faults import SandboxUnavailable

PINNED = pin("", "theorem t (n : Nat) : n = n := by sorry")
caged = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


def prover_of(toolchain, **limits):
    return Prover(toolchain, Limits(**{"wall_s": 60.0, "cpu_s": 30, "memory_mb": 1024, **limits}))


async def judged(toolchain, proof, prelude="", pinned=PINNED, **limits):
    return await audit(prover_of(toolchain, **limits), pinned, Candidate(prelude, f" by\n  {proof}"))


@caged
async def test_a_proof_is_compiled_sealed_and_stands_on_the_three_axioms(fake_toolchain):
    found = await judged(fake_toolchain, "rfl")
    assert found.proved and found.compiles and found.same_statement
    assert found.axioms == ("propext",) and found.reason == "" and found.replayed is None


@caged
@pytest.mark.parametrize(
    ("proof", "compiles", "reason"),
    [
        ("bad", False, "unsolved: bad"),
        ("hole", False, "not proved"),
        ("assume", True, "stands on Cheat.axiom"),
        ("other", True, "something else"),
    ],
)
async def test_what_is_no_proof_says_why(fake_toolchain, proof, compiles, reason):
    found = await judged(fake_toolchain, proof)
    assert not found.proved and found.compiles is compiles and reason in found.reason


@caged
async def test_a_hole_in_a_helper_counts(fake_toolchain):
    found = await judged(fake_toolchain, "rfl", prelude="theorem helper : 1 = 2 := hole")
    assert not found.proved and "not proved" in found.reason


@caged
@pytest.mark.parametrize(
    ("proof", "how", "limits"),
    [("spin", "time", {"cpu_s": 1}), ("shout", "flood", {}), ("crash", "crash", {}), ("hog", "memory", {})],
)
async def test_limits_end_a_proof_and_nothing_else(fake_toolchain, proof, how, limits):
    found = await judged(fake_toolchain, proof, **limits)
    assert not found.proved and how in found.reason
    assert (await judged(fake_toolchain, "rfl")).proved


@caged
@pytest.mark.parametrize(
    ("checker", "replayed", "proved"),
    [
        ("exit 0", True, True),
        ('grep -q "candidate_word" "$1.olean" && exit 1; exit 0', False, False),
        ("exit 1", None, True),
    ],
)
async def test_the_kernel_reads_the_module_again_where_a_checker_works(fake_toolchain, checker, replayed, proved):
    """The last refuses even a module that is right: it is not heard."""
    program = fake_toolchain.lean.with_name("leanchecker")
    program.write_text(f"#!/bin/sh\n{checker}\n")
    program.chmod(0o755)
    found = await judged(fake_toolchain, "exact candidate_word")
    assert found.replayed is replayed and found.proved is proved
    assert ("kernel refuses" in found.reason) is (not proved)


@caged
async def test_wall_time_is_no_verdict(fake_toolchain):
    """A machine that is too busy must not cost a reward; processor time does."""
    with pytest.raises(DeadlineExceeded, match="busy"):
        await judged(fake_toolchain, "spin", cpu_s=600, wall_s=0.5)


@caged
async def test_a_caller_that_goes_away_leaves_no_process(fake_toolchain):
    judging = asyncio.ensure_future(judged(fake_toolchain, "spin", cpu_s=600, wall_s=600.0))
    while not any("Candidate.lean" in line for line in _commands()):
        await asyncio.sleep(0.05)
    judging.cancel()
    with pytest.raises(asyncio.CancelledError):
        await judging
    assert not any(str(fake_toolchain.lean) in line for line in _commands())


def _commands():
    from pathlib import Path

    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(place.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


@caged
async def test_inside_the_cage_there_is_neither_network_nor_machine(fake_toolchain):
    prover = prover_of(fake_toolchain)
    compiled = await prover.compile("", "theorem t : True := peek")
    told = json.loads(next(message.data for message in compiled.messages if message.severity == "info"))
    assert [name for name in told["seen"] if name.startswith("/")] == []
    assert any("network" in name for name in told["seen"])
    assert told["processes"] <= 4


@caged
async def test_a_header_that_this_lean_cannot_read_is_no_verdict(fake_toolchain):
    pinned = pin("import Mathlib\n\n", "theorem t (n : Nat) : n = n")
    with pytest.raises(Unavailable, match="Mathlib") as caught:
        await judged(fake_toolchain, "rfl", pinned=pinned)
    assert "PALAESTRA_LEAN_PROJECT" in caught.value.hint
    with pytest.raises(Unavailable, match="Mathlib"):
        await prover_of(fake_toolchain).compile(pinned.header, "theorem t : True := trivial")


@caged
async def test_a_lean_that_cannot_even_read_the_statement_is_not_the_proofs_fault(fake_toolchain):
    with pytest.raises(LeanFault, match="bare statement"):
        await judged(fake_toolchain, "rfl", pinned=pin("", "theorem t : crash = crash"))


def test_without_bubblewrap_nothing_runs_unless_that_is_allowed(fake_toolchain, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PALAESTRA_ALLOW_WEAK_SANDBOX", raising=False)
    with pytest.raises(SandboxUnavailable, match="bubblewrap"):
        Cage(fake_toolchain)
    monkeypatch.setenv("PALAESTRA_ALLOW_WEAK_SANDBOX", "1")
    assert Cage(fake_toolchain).name == "plain"


async def test_with_mere_limits_it_works_and_says_so(fake_toolchain, monkeypatch):
    monkeypatch.setenv("PALAESTRA_ALLOW_WEAK_SANDBOX", "1")
    monkeypatch.setattr("environments.lean_proofs.confined.shutil.which", lambda name: None)
    prover = prover_of(fake_toolchain)
    assert prover.cage.name == "plain"
    assert (await audit(prover, PINNED, Candidate(proof=" by\n  rfl"))).proved


def test_the_pinned_statement_stands_before_the_candidates_first_word():
    code, line = candidate_file(PINNED, Candidate("theorem helper : True := trivial", " by rfl"), "pin_1")
    before = "".join(code.splitlines(keepends=True)[: line - 1])
    assert before == "theorem pin_1 (n : Nat) : n = n := by sorry\n\n"
    assert code.splitlines()[line - 1] == "theorem helper : True := trivial"


def message(data):
    return Compiled([Message(severity="info", data=data, pos=Pos(6, 0))])


def test_axioms_are_read_of_the_seal_alone():
    assert read_axioms(message("'seal_1' does not depend on any axioms"), "seal_1") == ()
    assert read_axioms(message("'seal_1' depends on axioms: [propext,\n Classical.choice]"), "seal_1") == (
        "propext",
        "Classical.choice",
    )
    assert read_axioms(message("`seal_1` depends on axioms: [sorryAx]"), "seal_1") == ("sorryAx",)
    assert read_axioms(message("'seal_2' does not depend on any axioms"), "seal_1") is None
    assert read_axioms(message("see: 'seal_1' does not depend on any axioms"), "seal_1") is None
    assert {"propext", "Classical.choice", "Quot.sound"} == ALLOWED


# With Lean itself ------------------------------------------------------------------------------------------------


@pytest.mark.lean
@pytest.mark.parametrize("level", range(len(LEVELS)))
async def test_every_family_has_a_proof_that_lean_accepts(real_lean, level):
    prover = Prover(real_lean)
    for number, family in enumerate(LEVELS[level]):
        theorem = family(random.Random(number), level + 1)
        pinned = pin(theorem.header, theorem.statement)
        found = await audit(prover, pinned, Candidate(proof=theorem.proof))
        assert found.proved, (family.__name__, theorem.statement, found.reason)


@pytest.mark.lean
@pytest.mark.parametrize(
    ("statement", "proof", "proved"),
    [
        ("theorem t : 1 + 1 = 2", " by rfl", True),
        ("theorem t : 1 + 1 = 3", " by rfl", False),
        ("theorem t (p : Prop) : p ∨ ¬p", " Classical.em p", True),
        ("theorem t {p q : Prop} (h : p ∧ q) : q", " h.2", True),
        ("theorem t : 2 ^ 64 % 7 = 2", " by native_decide", False),
        ("theorem t : False", " sorryAx False", False),
    ],
)
async def test_lean_decides(real_lean, statement, proof, proved):
    """Past the screen on purpose: the kernel has to refuse these by itself."""
    found = await audit(Prover(real_lean), pin("", statement), Candidate(proof=proof))
    assert found.proved is proved, found.reason


@pytest.mark.lean
async def test_lean_refuses_a_helper_that_is_an_axiom_and_a_statement_that_was_weakened(real_lean):
    prover, false = Prover(real_lean), pin("", "theorem t : False")
    found = await audit(prover, false, Candidate("axiom cheat : False", " cheat"))
    assert not found.proved and "cheat" in found.reason
    macro = "macro_rules | `(tactic| rfl) => `(tactic| exact sorryAx _ true)"
    assert not (await audit(prover, false, Candidate(macro, " by rfl"))).proved


@pytest.mark.lean
async def test_lean_shows_goals_step_by_step(real_lean):
    prover = Prover(real_lean)
    body = "theorem t (p q : Prop) (h : p ∧ q) : q ∧ p := by\n  constructor"
    goals = (await prover.compile("", body)).goals_of(1)
    assert goals is not None and len(goals) == 2
    assert all(re.search("⊢ [pq]$", goal) for goal in goals)
    assert (await prover.compile("", f"{body}\n  exact h.2\n  exact h.1")).goals_of(1) == []


@pytest.mark.lean
async def test_a_reply_with_a_helper_is_proved(real_lean):
    pinned = pin("", "theorem t (n : Nat) : n + 0 = n")
    text = "```lean4\ntheorem helper (n : Nat) : n + 0 = n := rfl\n\ntheorem t (n : Nat) : n + 0 = n := helper n\n```"
    assert (await audit(Prover(real_lean), pinned, read_candidate(text, pinned))).proved
