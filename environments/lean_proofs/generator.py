"""Generated tasks: a theorem, and a way to prove it: in one go, with a compiler at hand, or tactic by tactic.

whole     no tools; the reply holds the proof                                 every level
correct   `check` compiles a try and tells the errors, a few times            level 1 and up
steps     `apply_tactic` shows the goals after each tactic                    level 1 and up
"""

from __future__ import annotations

import random
from typing import Any

from environments.lean_proofs.families import draw
from environments.lean_proofs.statement import pin

MODES = ("whole", "correct", "steps")
TOOLS: dict[str, list[str]] = {"whole": [], "correct": ["check"], "steps": ["apply_tactic"]}
TRIES = 4
"""Calls of `check` in one rollout."""

_ASKED = "Prove this theorem in Lean 4. Only Lean's own library is there, no Mathlib.\n\n```lean4\n{code}\n```\n\n{how}"
_RULES = (
    "Do not change the statement. No axioms, no `sorry`, no `native_decide`, no options, no new syntax. Helper lemmas"
    " may stand before the theorem."
)
_BLOCK = "Reply with the whole theorem and its proof in a ```lean4 block."
_HOW = {
    "whole": f"{_BLOCK} {_RULES}",
    "correct": f"{_BLOCK} Before, `check` compiles a try and tells what is wrong, at most {TRIES} times. {_RULES}",
    "steps": (
        "Prove it with `apply_tactic`: state 0 is the beginning, each call applies a tactic to a state and shows the"
        f" goals of the new one. When a state has no goals left, say that you are finished. {_RULES}"
    ),
}


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """A task of this level."""
    family, theorem = draw(rng, level)
    mode = "whole" if level == 0 else rng.choice(MODES)
    pinned = pin(theorem.header, theorem.statement)
    code = f"{theorem.header}{theorem.statement} := by\n  sorry"
    return {
        "prompt": _ASKED.format(code=code, how=_HOW[mode]),
        "tools": TOOLS[mode],
        "public": {"mode": mode},
        "family": family,
        "header": theorem.header,
        "formal_statement": theorem.statement,
        "pinned": pinned.digest,
        "tactics": list(theorem.tactics),
    }
