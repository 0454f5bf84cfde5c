"""Lean proofs: prove a pinned theorem; Lean 4 decides. Whole proofs, with a compiler at hand, or tactic by tactic."""

from __future__ import annotations

import random
from typing import Any, ClassVar

from environments.lean_proofs.audit import Audited, audit
from environments.lean_proofs.candidate import Candidate, read_candidate
from environments.lean_proofs.feedback import feedback, goals_text
from environments.lean_proofs.generator import TRIES, make
from environments.lean_proofs.prover import Prover
from environments.lean_proofs.published import grade_kimina, grade_nemo
from environments.lean_proofs.rows import STATEMENT, ingest, pinned_of, reshape
from environments.lean_proofs.screen import refusal
from environments.lean_proofs.session import MAX_STATES, MAX_TACTIC, Work, script
from environments.lean_proofs.statement import Pinned
from environments.lean_proofs.toolchain import MISSING, Toolchain, find_toolchain
from gym_core.environment import Call, Environment, Reply, Script, Session, Task, ToolFault, Verdict, tool
from gym_core.errors import Unavailable


class LeanProofs(Environment):
    """Prove the theorem in Lean 4; 1.0 when the kernel accepts a proof of exactly the given statement, else 0.0."""

    name = "lean_proofs"
    version = "1.0.0"
    levels: ClassVar[range] = range(6)
    max_steps = 24
    verify_timeout_s = 900.0

    def __init__(self) -> None:
        self._toolchain: Toolchain | None = None
        self._prover: Prover | None = None

    # Where Lean is ----------------------------------------------------------------------------------------------

    def unavailable(self) -> str:
        if self._toolchain is None:
            self._toolchain = find_toolchain()
        return "" if self._toolchain is not None else MISSING

    def prover(self) -> Prover:
        """The Lean of this process. Raises `Unavailable` without a toolchain, `SandboxUnavailable` without a cage."""
        if self._prover is None:
            if self.unavailable() or self._toolchain is None:
                what, _, how = MISSING.partition("; ")
                raise Unavailable(what, hint=how)
            self._prover = Prover(self._toolchain)
        return self._prover

    # Tasks ------------------------------------------------------------------------------------------------------

    def make(self, rng: random.Random, level: int) -> dict[str, Any]:
        return make(rng, level)

    def reshape(self, row: dict[str, Any]) -> dict[str, Any]:
        return reshape(row)

    def ingest(self, task: Task) -> Task:
        return ingest(task)

    def setup(self, task: Task) -> Work:
        return Work()

    # Tools ------------------------------------------------------------------------------------------------------

    @tool
    async def check(self, session: Session, proof: str) -> str:
        """Compile a try and tell what is wrong with it.

        Args:
            proof: the whole theorem with its proof, or the proof alone
        """
        work = _work(session)
        if work.checked >= TRIES:
            raise ToolFault(f"all {TRIES} tries are used up")
        pinned = pinned_of(session.task)
        candidate = read_candidate(proof, pinned)
        work.checked += 1
        left = f"\n\n{TRIES - work.checked} tries left"
        if candidate.refused:
            raise ToolFault(f"refused: {candidate.refused}{left}")
        body = _body(pinned, candidate)
        return feedback(body, await self.prover().compile(pinned.header, body)) + left

    @tool
    async def apply_tactic(self, session: Session, state: int, tactic: str) -> str:
        """Apply a tactic to a proof state and show the goals of the new state.

        Args:
            state: number of the state to go on from; 0 is the beginning
            tactic: one tactic, or several lines of them
        """
        work = _work(session)
        if not 0 <= state < len(work.scripts):
            raise ToolFault(f"there is no state {state}: the last is {len(work.scripts) - 1}")
        if len(work.scripts) > MAX_STATES:
            raise ToolFault(f"{MAX_STATES} states are enough")
        if len(tactic) > MAX_TACTIC or not tactic.strip():
            raise ToolFault(f"a tactic has 1 to {MAX_TACTIC} characters")
        pinned = pinned_of(session.task)
        steps = (*work.scripts[state], tactic)
        candidate = read_candidate(f"by{script(steps).removeprefix(' by')}", pinned)
        if candidate.refused:
            raise ToolFault(f"refused: {candidate.refused}")
        body = _body(pinned, candidate)
        compiled = await self.prover().compile(pinned.header, body)
        goals = compiled.goals_of(pinned.statement.count("\n") + 1)
        if goals is None:
            raise ToolFault(feedback(body, compiled))
        number = work.add(state, tactic)
        if not goals and work.finished is None:
            work.finished = number
        return goals_text(number, goals)

    # Verdicts ---------------------------------------------------------------------------------------------------

    async def verify(self, task: Task, session: Session, reply: Reply) -> Verdict:  # type: ignore[override]
        pinned = pinned_of(task)
        work = _work(session)
        candidate = _said(task, work, reply, pinned)
        if candidate.refused:
            return _verdict(pinned, work, Audited(reason=candidate.refused), allowed=False)
        return _verdict(pinned, work, await audit(self.prover(), pinned, candidate), allowed=True)

    async def verify_published(  # type: ignore[override]
        self, task: Task, session: Session, reply: Reply
    ) -> Verdict:
        if task.get("one_text"):
            return await grade_kimina(self.prover(), reply)
        statement = task[STATEMENT] if task.ref is None else f"{task[STATEMENT]} := by\n"
        return await grade_nemo(self.prover(), task["header"], statement, reply)

    def oracle(self, task: Task) -> Script:
        tactics = task.get("tactics")
        if tactics is None:
            raise NotImplementedError("a row from outside brings no proof: the oracle knows generated theorems only")
        proof = script(tuple(tactics))
        whole = f"```lean4\n{task['header']}{task[STATEMENT]} :={proof}\n```"
        if task["mode"] == "steps":
            calls = tuple(
                Call("apply_tactic", {"state": number, "tactic": "\n".join(group)})
                for number, group in enumerate(_closed(tactics))
            )
            return Script(calls, "I am finished.")
        calls = (Call("check", {"proof": whole}),) if task["mode"] == "correct" else ()
        return Script(calls, whole)


def _work(session: Session) -> Work:
    return session.state if isinstance(session.state, Work) else Work()


def _body(pinned: Pinned, candidate: Candidate) -> str:
    prelude = f"{candidate.prelude}\n\n" if candidate.prelude.strip() else ""
    return prelude + pinned.proved_by(candidate.proof)


def _said(task: Task, work: Work, reply: Reply, pinned: Pinned) -> Candidate:
    """The candidate: the block of the reply; step by step also the finished script, when the policy says it is done."""
    if reply.empty:
        return Candidate(refused="silence")
    if task["mode"] == "steps" and "```" not in reply.text:
        if not work.proof:
            return Candidate(refused="no state is without goals")
        return Candidate(proof=work.proof, refused=refusal("", work.proof))
    return read_candidate(reply.text, pinned)


def _verdict(pinned: Pinned, work: Work, found: Audited, *, allowed: bool) -> Verdict:
    reward = float(found.proved)
    parts = {"allowed": allowed, "compiles": found.compiles, "same_statement": found.same_statement}
    sound = found.same_statement and found.proved
    components = {name: float(value) for name, value in {**parts, "axioms": sound}.items()}
    details: dict[str, Any] = {"statement": pinned.digest, "states": len(work.scripts) - 1, "tries": work.checked}
    if found.reason:
        details["reason"] = found.reason
    if found.axioms is not None:
        details["axioms"] = sorted(found.axioms)
    if found.replayed is not None:
        details["replayed"] = found.replayed
    return Verdict(reward=reward, components=components, details=details)


def _closed(tactics: list[str]) -> list[list[str]]:
    """The tactics one by one, except that bullets go with the tactic that made their goals."""
    groups: list[list[str]] = []
    for tactic in tactics:
        if tactic.startswith("·") and groups:
            groups[-1].append(tactic)
        else:
            groups.append([tactic])
    return groups
