"""Optional: tactic by tactic through a theorem of a traced repository, with LeanDojo (extra `lean`).

    with opened(url, commit, file, theorem) as proof:
        proof.apply(0, "simp")     ─▶ Step(state=1, goals="⊢ …") | Step(error="…") | Step(state=2, done=True)

LeanDojo clones and builds the repository, so it needs elan, git and the network, and runs Lean outside the cage: for
repositories that are trusted, to build data with. No verdict comes from here. Source: lean-dojo 4 (`Dojo.run_tac`).
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from gym_core.errors import Unavailable


@dataclass(slots=True, frozen=True)
class Step:
    """What came of a tactic: a new state and its goals, the end of the proof, or an error."""

    state: int | None = None
    goals: str = ""
    error: str = ""
    done: bool = False


class DojoProof:
    """States of one proof by number; 0 is the beginning."""

    def __init__(self, library: Any, dojo: Any, first: Any) -> None:
        self._library = library
        self._dojo = dojo
        self._states = [first]

    @property
    def goals(self) -> str:
        """The goals at the beginning."""
        return str(self._states[0].pp)

    def apply(self, state: int, tactic: str) -> Step:
        """Apply a tactic to a state. Raises `ValueError` for a state that is not there."""
        if not 0 <= state < len(self._states):
            raise ValueError(f"there is no state {state}: the last is {len(self._states) - 1}")
        found = self._dojo.run_tac(self._states[state], tactic)
        if isinstance(found, self._library.ProofFinished):
            return Step(done=True)
        if isinstance(found, self._library.TacticState):
            self._states.append(found)
            return Step(len(self._states) - 1, str(found.pp))
        return Step(error=str(getattr(found, "error", "") or type(found).__name__))


@contextmanager
def opened(url: str, commit: str, file: str, theorem: str, timeout_s: int = 600) -> Iterator[DojoProof]:
    """The proof of a theorem of this repository. Raises `Unavailable` where lean-dojo is not installed."""
    try:
        library = importlib.import_module("lean_dojo")
    except ImportError as error:
        raise Unavailable("lean-dojo is not installed", hint="pip install 'palaestra[lean]'") from error
    found = library.Theorem(library.LeanGitRepo(url, commit), file, theorem)
    with library.Dojo(found, timeout=timeout_s) as (dojo, first):
        yield DojoProof(library, dojo, first)
