"""What one rollout does with its tools: tries that were checked, and proof states as the tactics that lead to them.

A state is its script, not a process: state 3 is the tactics from the beginning to it. So a state outlives any prover,
and what was shown step by step is exactly what is judged in the end.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

from environments.lean_proofs.theorem import indented

MAX_STATES = 64
MAX_TACTIC = 4000


@dataclass(slots=True)
class Work:
    """`scripts[n]` are the tactics of state n; `finished` the first state without goals."""

    scripts: list[tuple[str, ...]] = field(default_factory=lambda: [()])
    finished: int | None = None
    checked: int = 0

    def add(self, state: int, tactic: str) -> int:
        """The number of the state behind this tactic."""
        self.scripts.append((*self.scripts[state], tactic))
        return len(self.scripts) - 1

    @property
    def proof(self) -> str:
        """The finished script as what follows `:=`; "" where no state is without goals."""
        return "" if self.finished is None else script(self.scripts[self.finished])


def script(tactics: tuple[str, ...]) -> str:
    """Tactics as a proof. No tactic at all is `skip`, so that Lean shows the goal."""
    return " by\n" + "\n".join(indented(textwrap.dedent(tactic).strip("\n")) for tactic in tactics or ("skip",))
