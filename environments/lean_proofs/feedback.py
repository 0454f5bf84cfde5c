"""What a policy is told of a failed try: each error with the line it stands in, bounded in number and length."""

from __future__ import annotations

from environments.lean_proofs.protocol import Message
from environments.lean_proofs.prover import Compiled

MAX_ERRORS = 8
MAX_TEXT = 600
MAX_GOALS = 12
_BEFORE = 2


def feedback(body: str, compiled: Compiled) -> str:
    """Errors and holes of a compilation of this body; "no errors" where there are none."""
    if compiled.ended != "ok":
        return f"Lean did not come to an end ({compiled.ended}): make the proof simpler"
    lines = body.splitlines()
    errors = compiled.errors
    told = [_told(lines, error) for error in errors[:MAX_ERRORS]]
    if len(errors) > MAX_ERRORS:
        told.append(f"… and {len(errors) - MAX_ERRORS} more errors")
    if compiled.holes:
        told.append("a part is not proved: `sorry`")
    return "\n\n".join(told) or "no errors"


def goals_text(state: int, goals: list[str]) -> str:
    """A proof state for the policy."""
    if not goals:
        return f"state {state}: no goals left"
    shown = "\n\n".join(goal[:MAX_TEXT] for goal in goals[:MAX_GOALS])
    more = f"\n\n… and {len(goals) - MAX_GOALS} more goals" if len(goals) > MAX_GOALS else ""
    return f"state {state}:\n{shown}{more}"


def _told(lines: list[str], error: Message) -> str:
    row = error.pos.line
    context = "\n".join(lines[max(0, row - 1 - _BEFORE) : row])
    return f"line {row}, column {error.pos.column}: {error.data[:MAX_TEXT]}\n{context}\n{' ' * error.pos.column}^"
