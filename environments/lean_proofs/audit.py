"""The strict verdict on a candidate: compiled, then asked of the kernel in a process that ran none of its code.

    process 1    Candidate.lean = header | theorem PIN … := by sorry | helpers | theorem NAME … := proof
                 PIN is the statement alone, elaborated before the candidate's first word; written to Candidate.olean
    process 2    Audit.lean     = import Candidate
                                  theorem SEAL : type_of% @PIN := @NAME      the elaborated types are the same
                                  #print axioms SEAL                         propext, Classical.choice, Quot.sound only
    process 3    leanchecker Candidate, where the toolchain has it: the kernel reads every declaration again

PIN and SEAL are names drawn for this verdict; SEAL is not known to process 1. Source of the three axioms and of the
checker: the Lean reference, "Validating a Lean Proof".
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from environments.lean_proofs.candidate import Candidate
from environments.lean_proofs.prover import Compiled, LeanFault, Prover, unreadable
from environments.lean_proofs.statement import Pinned

ALLOWED = frozenset({"propext", "Classical.choice", "Quot.sound"})
"""The axioms that Lean's own library stands on."""

MODULE = "Candidate"


@dataclass(slots=True, frozen=True)
class Audited:
    """The verdict with its parts: whether it compiles, states the pinned type, and which axioms it stands on."""

    compiles: bool = False
    same_statement: bool = False
    axioms: tuple[str, ...] | None = None
    replayed: bool | None = None
    reason: str = ""
    first: Compiled = field(default_factory=Compiled)

    @property
    def proved(self) -> bool:
        """All parts hold; a checker that is not there is no part."""
        sound = self.axioms is not None and ALLOWED.issuperset(self.axioms)
        return self.compiles and self.same_statement and sound and self.replayed is not False


async def audit(prover: Prover, pinned: Pinned, candidate: Candidate) -> Audited:
    """Whether this candidate proves the pinned statement. Raises typed faults where Lean or its cage fails."""
    assert not candidate.refused, "a refused candidate is never compiled"
    pin = f"pin_{secrets.token_hex(8)}"
    code, first_line = candidate_file(pinned, candidate, pin)
    async with prover.scratch({f"{MODULE}.lean": code}) as folder:
        compiled = await prover.lean(folder, f"{MODULE}.lean", "-o", f"{MODULE}.olean")
        _readable(compiled, first_line)
        if compiled.ended != "ok":
            await _control(prover, pinned)
        reason = wrong_with(compiled, first_line)
        if reason:
            return Audited(reason=reason, first=compiled)
        if not (folder / f"{MODULE}.olean").is_file():
            raise LeanFault(f"Lean wrote no module: {compiled.noise[-300:] or 'and says nothing'}")
        sealed = await _sealed(prover, folder, pin, pinned.name)
        if not sealed.same_statement or sealed.axioms is None:
            return Audited(True, reason=sealed.reason, first=compiled)
        beyond = [axiom for axiom in sealed.axioms if axiom not in ALLOWED]
        replayed = None if beyond else await prover.replay(folder, MODULE)
    reason = f"it stands on {', '.join(beyond)}" if beyond else ""
    if replayed is False:
        reason = "the kernel refuses the compiled module"
    return Audited(True, True, sealed.axioms, replayed, reason, compiled)


def candidate_file(pinned: Pinned, candidate: Candidate, pin: str) -> tuple[str, int]:
    """The file of process 1, and the line on which the candidate's own text begins."""
    before = f"{pinned.header}{pinned.renamed(pin)} := by sorry\n\n"
    prelude = f"{candidate.prelude}\n\n" if candidate.prelude.strip() else ""
    return f"{before}{prelude}{pinned.proved_by(candidate.proof)}\n", before.count("\n") + 1


def audit_file(pin: str, name: str, seal: str) -> str:
    """The file of process 2."""
    sealed = f"theorem {seal} : type_of% @{pin} := by\n  first | exact @{name} | apply @{name}"
    return f"import {MODULE}\n\n{sealed}\n\n#print axioms {seal}\n"


def wrong_with(compiled: Compiled, first_line: int) -> str:
    """Why a compilation is no proof, "" where it may be one."""
    if compiled.ended != "ok":
        return f"Lean ended by {compiled.ended}"
    if compiled.errors:
        return f"Lean says: {compiled.errors[0].data[:300]}"
    if any(hole.pos.line >= first_line for hole in compiled.holes):
        return "a part of it is not proved (sorry)"
    return ""


def read_axioms(compiled: Compiled, seal: str) -> tuple[str, ...] | None:
    """The axioms that `#print axioms` told of this name; None where it did not."""
    for message in compiled.messages:
        if message.severity in ("info", "information") and seal in message.data:
            said = re.fullmatch(rf"\W?{seal}\W? depends on axioms:\s*\[(.*)\]", message.data.strip(), re.DOTALL)
            if said:
                return tuple(name.strip() for name in said[1].split(",") if name.strip())
            if re.fullmatch(rf"\W?{seal}\W? does not depend on any axioms", message.data.strip()):
                return ()
    return None


def _readable(compiled: Compiled, first_line: int) -> None:
    """Raises `Unavailable` where the header or the bare statement is already wrong: no fault of the candidate."""
    for message in compiled.errors:
        if message.pos.line < first_line:
            raise unreadable(f"Lean refuses the task itself: {message.data[:300]}")


async def _control(prover: Prover, pinned: Pinned) -> None:
    """Raises `LeanFault` where Lean cannot even finish the bare statement: then the proof is not to blame."""
    async with prover.scratch({"Bare.lean": f"{pinned.header}{pinned.renamed('bare')} := by sorry\n"}) as folder:
        bare = await prover.lean(folder, "Bare.lean")
    if bare.ended != "ok":
        raise LeanFault(f"Lean ends by {bare.ended} on the bare statement", hint=bare.noise[-300:])


async def _sealed(prover: Prover, folder: Path, pin: str, name: str) -> Audited:
    """Process 2: same statement, axioms."""
    seal = f"seal_{secrets.token_hex(8)}"
    (folder / "Audit.lean").write_text(audit_file(pin, name, seal))
    compiled = await prover.lean(folder, "Audit.lean")
    if compiled.ended != "ok":
        return Audited(reason=f"the audit ended by {compiled.ended}")
    if compiled.errors:
        return Audited(reason=f"it proves something else: {compiled.errors[0].data[:300]}")
    axioms = read_axioms(compiled, seal)
    if axioms is None:
        raise LeanFault("`#print axioms` did not answer", hint=compiled.noise[-300:])
    return Audited(True, True, axioms)
