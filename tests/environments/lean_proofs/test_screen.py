"""What is refused before Lean sees it, and what honest proofs may write."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.lean_proofs.candidate import lean_block, read_candidate
from environments.lean_proofs.lexer import Unclosed, balanced, strip_comments, tokens, words
from environments.lean_proofs.screen import MAX_CHARACTERS, refusal
from environments.lean_proofs.statement import pin
from gym_core.errors import BadRow
from gym_core.loading import load_file

ROOT = Path(__file__).resolve().parents[3]
attacks = load_file(ROOT / "tests" / "adversarial" / "attacks" / "lean_proofs.py")
PINNED = pin("import Mathlib\n\nopen Nat\n\n", "theorem hard (n : Nat) : n + 1 = n := by\n")


@pytest.mark.parametrize("name", attacks.WHOLE)
def test_an_attack_is_refused_before_lean_sees_it(name):
    pinned = pin("", attacks.ROW["formal_statement"])
    assert read_candidate(attacks.fenced(attacks.WHOLE[name]), pinned).refused


@pytest.mark.parametrize("name", attacks.FOR_LEAN)
def test_what_only_lean_can_refuse_is_let_through(name):
    pinned = pin("", attacks.ROW["formal_statement"])
    assert not read_candidate(attacks.fenced(attacks.FOR_LEAN[name]), pinned).refused


HONEST = [
    "by omega",
    "by\n  induction n with\n  | zero => simp\n  | succ n ih => omega",
    "fun h => ⟨h.2, h.1⟩",
    "by\n  have h := Nat.lt_irrefl n\n  simp_all [Nat.succ_le]",
    "by\n  rcases h with ⟨x, hx⟩ | h'\n  · exact absurd hx h'\n  · nlinarith [sq_nonneg (a - b), mul_self_nonneg x]",
    "by\n  calc n + 1 = 1 + n := Nat.add_comm n 1\n    _ = n := by rfl -- sorry, that was easy: no axiom, no macro",
    "by /- an import of ideas -/ norm_num [Finset.sum_range_succ, Nat.choose]",
    "by\n  obtain ⟨k, rfl⟩ := h\n  exact (Nat.Prime.prefix k).elim",
    "by\n  refine ⟨?_, fun x => by ring⟩\n  rw [div_eq_iff (by norm_num : (2 : ℝ) ≠ 0)] at h₀ ⊢\n  linarith",
]


@pytest.mark.parametrize("proof", HONEST)
def test_an_honest_proof_passes_whole_and_alone(proof):
    whole = f"{PINNED.header}theorem hard (n : Nat) : n + 1 = n := {proof}"
    for said in (f"A plan.\n```lean4\n{whole}\n```\nDone.", f"```lean\n{proof}\n```", proof):
        found = read_candidate(said, PINNED)
        assert found.refused == ""
        assert words(found.proof) == words(proof)
        assert found.prelude == ""


def test_helpers_may_stand_before_the_theorem():
    helpers = "lemma a : 1 = 1 := rfl\n\nprivate def twice (n : Nat) : Nat :=\n  n + n"
    code = f"{helpers}\n\ntheorem hard (n : Nat) : n + 1 = n := by omega"
    found = read_candidate(f"```lean4\n{code}\n```", PINNED)
    assert not found.refused and found.prelude.startswith("lemma a") and found.proof.strip() == "by omega"


def test_comments_never_reach_lean():
    found = read_candidate("```lean4\ntheorem hard (n : Nat) : n + 1 = n := by -- x\n  /- y -/ rfl\n```", PINNED)
    assert "--" not in found.proof and "/-" not in found.proof and words(found.proof) == ["by", "rfl"]


def test_the_statement_may_be_laid_out_otherwise_and_nothing_else():
    for same in ("theorem  hard (n:Nat):n+1=n", "theorem hard\n    (n : Nat) :  -- why\n    n + 1 = n"):
        assert not read_candidate(f"```lean4\n{same} := by omega\n```", PINNED).refused
    for other in (
        "theorem hard (n : Int) : n + 1 = n",
        "theorem hard (n : Nat) : n + 1 = n ∨ True",
        "lemma hard : True",
    ):
        assert read_candidate(f"```lean4\n{other} := by omega\n```", PINNED).refused


def test_only_lines_of_the_header_may_be_repeated():
    body = "theorem hard (n : Nat) : n + 1 = n := by omega"
    assert not read_candidate(f"```lean4\nimport Mathlib\nopen Nat\n\n{body}\n```", PINNED).refused
    assert "import" in read_candidate(f"```lean4\nimport Mathlib\nimport Evil\n{body}\n```", PINNED).refused
    assert "open" in read_candidate(f"```lean4\nimport Mathlib\nopen Evil\n{body}\n```", PINNED).refused


def test_the_last_block_of_lean_counts():
    text = "```lean4\nfirst\n```\n```python\nprint(1)\n```\n```lean4\nlast\n```\n```\nbare\n```"
    assert lean_block(text) == "last"
    assert lean_block("```\nbare\n```") == "bare"
    assert lean_block("no fence") == "no fence"
    assert lean_block("```lean4\nnever closed") == "never closed"
    assert lean_block("```python\nprint(1)\n```") == ""


@pytest.mark.parametrize("text", ["", "  \n", "```lean4\n```", "```python\nx\n```", "```lean4\n-- nothing\n```"])
def test_nothing_is_no_proof(text):
    assert read_candidate(text, PINNED).refused


def test_long_and_invisible_candidates_are_refused():
    assert "longer" in refusal("", "x" * (MAX_CHARACTERS + 1))
    assert "U+200B" in refusal("", "exact\u200b h")
    assert "U+0007" in refusal("", "exact\a h")


# Words -----------------------------------------------------------------------------------------------------------


def test_comments_nest_and_keep_places():
    assert strip_comments("a /- b /- c -/ d -/ e -- f\ng") == f"a{' ' * 19}e{' ' * 5}\ng"
    assert strip_comments("a -- /- \nb") == f"a{' ' * 7}\nb"
    assert strip_comments("/-- doc -/ a") == "           a"
    for broken in ("/- a", "a -/", "/- /- -/"):
        with pytest.raises(Unclosed):
            strip_comments(broken)


def test_names_symbols_and_columns():
    found = tokens("theorem h₁.foo' (x : ℕ) :=\n  x.succ_le")
    assert [token.text for token in found] == ["theorem", "h₁.foo'", "(", "x", ":", "ℕ", ")", ":=", "x.succ_le"]
    assert found[-1].column == 2 and found[-1].parts == ["x", "succ_le"]
    assert balanced(tokens("(⟨a, [b]⟩)")) and not balanced(tokens("(⟨a)⟩")) and not balanced(tokens(")("))


@given(st.text(max_size=300))
def test_any_text_is_read_without_losing_a_character(text):
    said = "".join(token.text for token in tokens(text))
    assert said == "".join(text.split())


@given(st.text(alphabet="-/ \nab", max_size=60))
def test_what_is_left_of_comments_has_none(text):
    try:
        left = strip_comments(text)
    except Unclosed:
        return
    assert len(left) == len(text) and left.count("\n") == text.count("\n")
    assert "--" not in left and "/-" not in left and "-/" not in left


@given(st.text(max_size=400))
def test_no_reply_breaks_the_reader(text):
    for said in (text, f"```lean4\n{text}\n```"):
        found = read_candidate(said, PINNED)
        assert found.refused or found.proof.strip()


# Statements ------------------------------------------------------------------------------------------------------


def test_a_pin_ends_before_the_proof_and_counts_words_only():
    one = pin("import Mathlib\n", "theorem t (n : Nat) : let m := n; m = n := by sorry")
    other = pin("import  Mathlib -- all of it\n\n", "theorem t (n : Nat) :\n  let m := n; m = n := by\n")
    assert one.statement == "theorem t (n : Nat) : let m := n; m = n" and one.name == "t"
    assert one.digest == other.digest
    assert one.digest != pin("import Mathlib\n", "theorem t (n : Int) : let m := n; m = n").digest
    assert one.digest != pin("open Nat\n", "theorem t (n : Nat) : let m := n; m = n").digest
    assert one.renamed("u") == "theorem u (n : Nat) : let m := n; m = n"


@pytest.mark.parametrize(
    "statement",
    [
        "",
        "theorem",
        "example : True := by",
        "def f : Nat := 1",
        "theorem t : True := trivial",
        "theorem t True",
        "/- theorem t : True",
    ],
)
def test_what_cannot_be_pinned_is_refused(statement):
    with pytest.raises(BadRow) as caught:
        pin("", statement)
    assert caught.value.field == "formal_statement"
