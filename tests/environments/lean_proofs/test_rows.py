"""Published rows go in unchanged; rows of other shapes get a prompt; what cannot be judged is refused."""

import json

import pytest

from environments.lean_proofs.environment import LeanProofs
from environments.lean_proofs.rows import pinned_of, reshape
from gym_core.contracts import Task
from gym_core.errors import BadRow

ENVIRONMENT = LeanProofs()
HEADER = "import Mathlib\nimport Aesop\n\nset_option maxHeartbeats 400000\n\nopen BigOperators Real Nat\n\n"
STATEMENT = "theorem mathd_1 (x : ℝ) (h₀ : 2 * x = 4) : x = 2 := by\n"


def ingest(raw):
    return ENVIRONMENT.ingest(Task.from_row(raw, "lean_proofs"))


def test_published_rows_are_ingested_unchanged(published_rows):
    lines = (published_rows / "math_formal_lean.jsonl").read_text().splitlines()
    assert lines
    for line in lines:
        raw = json.loads(line)
        task = ingest(raw)
        sent = task.to_row()
        assert {name: sent[name] for name in raw} == raw
        pinned = pinned_of(task)
        assert pinned.name == raw["name"] and task["mode"] == "whole" and not task["one_text"]
        assert task["formal_statement"] == raw["formal_statement"] and task["header"] == raw["header"]
        again = ingest(json.loads(line))
        assert again["pinned"] == task["pinned"]


@pytest.mark.parametrize("ending", ["", " := by", " := by sorry", " := sorry", " := by\n  sorry\n", " :="])
def test_a_statement_is_the_same_however_it_is_left_open(ending):
    statement = STATEMENT.removesuffix(" := by\n") + ending
    row = {"responses_create_params": {"input": "Prove."}, "header": HEADER, "formal_statement": statement}
    assert pinned_of(ingest(row)).statement == STATEMENT.removesuffix(" := by\n")


MINIF2F = [
    {"name": "mathd_1", "split": "valid", "informal_prefix": "/-- Two x is four. -/\n", "goal": "…"},
    {"id": "mathd_1", "split": "test", "informal_stmt": "…", "informal_proof": "…"},
]


@pytest.mark.parametrize("about", MINIF2F)
def test_minif2f_rows_get_a_prompt(about):
    row = {**about, "header": HEADER, "formal_statement": f"{STATEMENT} sorry"}
    made = reshape(row)
    prompt = made["responses_create_params"]["input"]
    assert prompt.count("sorry") == 1 and "theorem mathd_1" in prompt and "import Mathlib" in prompt
    task = ingest(made)
    assert pinned_of(task).name == "mathd_1" and not task["one_text"]
    assert {name: made[name] for name in row} == row


@pytest.mark.parametrize("field", ["statement", "lean_code", "formal_statement"])
def test_kimina_rows_hold_header_and_statement_in_one_text(field):
    row = {"uuid": "1", field: f"{HEADER}/-- Two x is four. -/\n{STATEMENT}  sorry"}
    task = ingest(reshape(row))
    pinned = pinned_of(task)
    assert task["one_text"] and pinned.name == "mathd_1"
    assert pinned.header.startswith("import Mathlib") and "Two x" not in pinned.header
    assert task.fields[field] == row[field]


def test_the_mode_follows_from_the_tools_that_a_row_offers():
    row = {"responses_create_params": {"input": "Prove."}, "header": "", "formal_statement": STATEMENT}
    for tool, mode in (("apply_tactic", "steps"), ("check", "correct"), ("other", "whole")):
        offered = {**row, "responses_create_params": {"input": "Prove.", "tools": [{"type": "function", "name": tool}]}}
        assert ingest(offered)["mode"] == mode


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"formal_statement": None}, "formal_statement"),
        ({"formal_statement": ""}, "formal_statement"),
        ({"formal_statement": 3}, "formal_statement"),
        ({"formal_statement": "example : True := by"}, "formal_statement"),
        ({"formal_statement": "theorem t : True := trivial"}, "formal_statement"),
        ({"header": 3}, "header"),
        ({"header": "namespace Foo\n"}, "header"),
        ({"_hf_placeholder": {"row": 1}}, "_hf_placeholder"),
    ],
)
def test_what_can_never_be_judged_is_refused(more, field):
    row = {"responses_create_params": {"input": "Prove."}, "header": HEADER, "formal_statement": STATEMENT, **more}
    with pytest.raises(BadRow) as caught:
        ingest(row)
    assert caught.value.field == field


def test_a_statement_that_was_changed_after_the_pin_is_refused():
    task = ingest({"responses_create_params": {"input": "Prove."}, "header": "", "formal_statement": STATEMENT})
    task.hidden["formal_statement"] = "theorem mathd_1 : True := by"
    with pytest.raises(BadRow, match="pinned"):
        pinned_of(task)
