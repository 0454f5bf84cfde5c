"""Rows from outside: published ones as they are, others refused with the field that does not fit."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from environments.code_tests.problem import MAX_TESTS
from environments.code_tests.rows import ingest, problem_of_row
from gym_core.contracts import Task
from gym_core.errors import BadRow


def row(**meta: Any) -> dict[str, Any]:
    tests = {"inputs": ["1\n"], "outputs": ["2\n"]}
    return {"responses_create_params": {"input": "q"}, "verifier_metadata": {"unit_tests": tests, **meta}}


def task(fields: dict[str, Any]) -> Task:
    return Task.from_row(fields, "code")


def test_published_rows_are_ingested_unchanged(published_rows: Path) -> None:
    rows = [json.loads(line) for line in (published_rows / "code_gen.jsonl").read_text().splitlines()]
    assert len(rows) == 5
    for published in rows:
        taken = ingest(task(published))
        assert {**taken.to_row(), **published} == {**taken.to_row()} | published
        assert taken.fields == {k: v for k, v in published.items() if k != "responses_create_params"}
        tests = published["verifier_metadata"]["unit_tests"]["inputs"]
        assert [case.input for case in problem_of_row(taken).cases] == tests[:MAX_TESTS]
        assert len(problem_of_row(taken, whole=True).cases) == len(tests)


def test_packed_tests_are_unpacked() -> None:
    packed = base64.b64encode(zlib.compress(json.dumps({"inputs": ["a"], "outputs": ["b"]}).encode())).decode()
    problem = problem_of_row(task(row(unit_tests={"packed": packed, "fn_name": None})))
    assert [(case.input, case.output) for case in problem.cases] == [("a", "b")]


def test_null_padding_goes_and_other_fields_stay() -> None:
    taken = ingest(task({**row(difficulty=None), "source": None, "hash_id": "h", "extra": {"a": None}}))
    assert set(taken.fields) == {"verifier_metadata", "hash_id", "extra"}


def test_language_and_limits_are_read() -> None:
    problem = problem_of_row(task(row(language="C++", time_limit_s=1.5, memory_limit_mb=256)))
    assert (problem.language, problem.limits.cpu_s, problem.limits.memory_mb) == ("cpp", 1.5, 256)
    assert problem_of_row(task({**row(), "competition_id": "ioi24"})).language == "cpp"
    assert problem_of_row(task(row())).language == "python"


CALLS = {"inputs": ["[1]\n2"], "outputs": ["3"], "fn_name": "f"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"verifier_metadata": None}, "verifier_metadata"),
        ({"verifier_metadata": {}}, "verifier_metadata.unit_tests"),
        (row(unit_tests={"inputs": [], "outputs": []}), "verifier_metadata.unit_tests.inputs"),
        (row(unit_tests={"inputs": ["1"], "outputs": []}), "verifier_metadata.unit_tests"),
        (row(unit_tests={"inputs": ["1"], "outputs": [" \n"]}), "verifier_metadata.unit_tests.outputs"),
        (row(unit_tests={"inputs": [1], "outputs": ["1"]}), "verifier_metadata.unit_tests.inputs[0]"),
        (row(unit_tests={"inputs": "1", "outputs": ["1"]}), "verifier_metadata.unit_tests.inputs"),
        (row(unit_tests={"packed": "x"}), "verifier_metadata.unit_tests.packed"),
        (row(unit_tests={**CALLS, "fn_name": "os.system"}), "verifier_metadata.unit_tests.fn_name"),
        (row(unit_tests={**CALLS, "inputs": ["nope"]}), "verifier_metadata.unit_tests.inputs"),
        (row(unit_tests={**CALLS, "outputs": ["nope"]}), "verifier_metadata.unit_tests.outputs"),
        (row(unit_tests=CALLS, language="cpp"), "verifier_metadata.unit_tests.fn_name"),
        (row(language="cobol"), "verifier_metadata.language"),
        (row(time_limit_s=0), "verifier_metadata.time_limit_s"),
        (row(time_limit_s=True), "verifier_metadata.time_limit_s"),
        (row(memory_limit_mb=10**6), "verifier_metadata.memory_limit_mb"),
        (row(checker="def check(:"), "verifier_metadata.checker"),
        (row(checker="x = 1"), "verifier_metadata.checker"),
        ({**row(), "_hf_placeholder": {"row": 3}}, "_hf_placeholder"),
    ],
)
def test_what_cannot_be_graded_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRow) as refused:
        ingest(task({"responses_create_params": {"input": "q"}, **fields}))
    assert refused.value.field == field


def test_a_bomb_of_zeros_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("environments.code_tests.rows.MAX_UNPACKED", 1 << 16)
    packed = base64.b64encode(zlib.compress(b" " * (1 << 20))).decode()
    with pytest.raises(BadRow, match="unpacked"):
        problem_of_row(task(row(unit_tests={"packed": packed})))
