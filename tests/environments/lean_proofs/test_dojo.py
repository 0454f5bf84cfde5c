"""The optional route through LeanDojo, against a stand-in with its names."""

import sys
import types
from dataclasses import dataclass

import pytest

from environments.lean_proofs.dojo import Step, opened
from gym_core.errors import Unavailable


@dataclass
class TacticState:
    pp: str


@dataclass
class LeanError:
    error: str


class ProofFinished:
    pass


class Dojo:
    """Two steps finish: `intro`, then `rfl`."""

    def __init__(self, theorem, timeout):
        self.theorem, self.timeout = theorem, timeout

    def __enter__(self):
        return self, TacticState("⊢ ∀ n, n = n")

    def __exit__(self, *_):
        return None

    def run_tac(self, state, tactic):
        if (state.pp, tactic) == ("⊢ ∀ n, n = n", "intro n"):
            return TacticState("n : Nat\n⊢ n = n")
        if (state.pp, tactic) == ("n : Nat\n⊢ n = n", "rfl"):
            return ProofFinished()
        return LeanError(f"{tactic} failed")


@pytest.fixture
def library(monkeypatch):
    found = types.ModuleType("lean_dojo")
    names = {"TacticState": TacticState, "ProofFinished": ProofFinished, "Dojo": Dojo}
    names |= {"LeanGitRepo": lambda *given: given, "Theorem": lambda *given: given}
    for name, value in names.items():
        setattr(found, name, value)
    monkeypatch.setitem(sys.modules, "lean_dojo", found)


@pytest.mark.usefixtures("library")
def test_states_are_numbered_and_can_be_gone_on_from():
    with opened("https://example.org/repo", "abc", "A.lean", "t") as proof:
        assert proof.goals == "⊢ ∀ n, n = n"
        assert proof.apply(0, "simp") == Step(error="simp failed")
        assert proof.apply(0, "intro n") == Step(1, "n : Nat\n⊢ n = n")
        assert proof.apply(0, "rfl") == Step(error="rfl failed")
        assert proof.apply(1, "rfl") == Step(done=True)
        with pytest.raises(ValueError, match="no state 2"):
            proof.apply(2, "rfl")


def test_without_the_library_the_way_out_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lean_dojo", None)
    with pytest.raises(Unavailable, match="not installed") as caught, opened("u", "c", "f", "t"):
        raise AssertionError("opened without a library")
    assert "palaestra[lean]" in caught.value.hint
