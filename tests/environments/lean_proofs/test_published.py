"""The public gradings word for word, with recorded outputs of compilers instead of one."""

import shutil

import pytest

from environments.lean_proofs.confined import Limits
from environments.lean_proofs.protocol import Message, Pos
from environments.lean_proofs.prover import Compiled, Prover
from environments.lean_proofs.published import (
    MAX_OUTPUT,
    generated_code,
    grade_kimina,
    grade_nemo,
    kimina_status,
    proof_only,
    proof_status,
)
from gym_core.reply import read_reply, text_output

caged = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```lean4\na\n```\n```lean4\nb\n```", "b"),
        ("```lean\nb\n```\n```lean4\na\n```", "a"),
        ("```lean4\na\n```\n```\nbare\n```", "a"),
        ("<think>```lean4\nthought\n```</think>", "thought"),
        ("plain", "plain"),
        ("```lean4\nnever closed", "never closed"),
        ("```lean4\n\n```", ""),
    ],
)
def test_the_block_that_is_taken(text, code):
    assert generated_code(text) == code


@pytest.mark.parametrize(
    ("code", "proof"),
    [
        ("theorem t : 1 = 1 := by\n  rfl", "  rfl"),
        ("theorem t : 1 = 1 := by rfl", "rfl"),
        ("theorem t\n    (h : True) :\n    1 = 1 := by\n  rfl\n  done", "  rfl\n  done"),
        ("theorem t : 1 = 1 :=\n  by\n  rfl", "  rfl"),
        ("theorem t : 1 = 1 := rfl", "rfl"),
        ("lemma a : True := trivial\ntheorem t : 1 = 1 := by\n  rfl", "  rfl"),
        ("theorem t (h := 1) : x := by\n  rfl", "1) : x := by\n  rfl"),
        ("  rfl", "rfl"),
        ("theorem t : 1 = 1", "theorem t : 1 = 1"),
        ("", ""),
        ("theorem t : a := by\n  x\n\ntheorem u : b := by\n  y", "  x\n\ntheorem u : b := by\n  y"),
    ],
)
def test_the_proof_that_is_cut_out(code, proof):
    """The third from last: helpers before the first theorem are lost; the last: what follows is kept."""
    assert proof_only(code) == proof


@pytest.mark.parametrize(
    ("status", "stdout", "stderr", "said"),
    [
        ("completed", "", "", "completed"),
        ("completed", "declaration uses 'sorry'", "", "has_sorry"),
        ("completed", "", "DECLARATION USES SORRY", "has_sorry"),
        ("completed", "sorryAx", "", "completed"),
        ("failed", "", "error", "failed"),
        ("timeout", "", "", "timeout"),
    ],
)
def test_the_status_of_nemo_gym(status, stdout, stderr, said):
    assert proof_status(status, stdout, stderr) == said


def test_the_status_of_kimina():
    def told(severity, data):
        return Compiled([Message(severity=severity, data=data, pos=Pos(1, 0))])

    assert kimina_status(Compiled()) == "valid"
    assert kimina_status(told("warning", "declaration uses 'sorry'")) == "sorry"
    assert kimina_status(told("warning", "declaration uses `sorry`")) == "sorry"
    assert kimina_status(told("error", "unsolved goals")) == "lean_error"
    assert kimina_status(told("info", "Try this: simp")) == "valid"
    assert kimina_status(Compiled(ended="time")) == "timeout_error"


@caged
@pytest.mark.parametrize(
    ("proof", "nemo", "kimina"),
    [("rfl", 1.0, 1.0), ("bad", 0.0, 0.0), ("hole", 0.0, 0.0), ("assume", 1.0, 1.0), ("", 0.0, 0.0)],
)
async def test_both_pay_what_compiles_whatever_it_stands_on(fake_toolchain, proof, nemo, kimina):
    prover = Prover(fake_toolchain, Limits(memory_mb=1024))
    text = f"```lean4\ntheorem t : 1 = 1 := by\n  {proof}\n```" if proof else ""
    reply = read_reply(text_output(text))
    assert (await grade_nemo(prover, "", "theorem t : 1 = 1 := by\n", reply)).reward == nemo
    assert (await grade_kimina(prover, reply)).reward == kimina


def test_what_is_cut_from_the_output_hides_a_hole():
    """The weakness that is published: a thousand characters of anything, then the warning."""
    noise = "x" * MAX_OUTPUT
    assert proof_status("completed", (noise + " declaration uses 'sorry'")[:MAX_OUTPUT], "") == "completed"
