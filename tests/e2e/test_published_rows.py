"""Published rows through the real service: all of them ingest unchanged, and broken twins are refused by field."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gym_core.client import Client
from gym_core.registry import Registry
from gym_core.serve import start
from gym_core.server import build_app

KINDS = {
    "math_with_judge": "math",
    "structured_outputs": "structured_outputs",
    "structured_outputs_v3_example": "structured_outputs",
    "structured_outputs_v4_example": "structured_outputs",
    "instruction_following": "instruction_following",
    "ifbench": "instruction_following",
    "code_gen": "code",
    "mcqa": "stem_qa",
    "calendar": "calendar",
    "genrm_compare": "genrm_compare",
    "multichallenge": "multi_turn_if",
    "inverse_if": "multi_turn_if",
    "single_step_tool_use_with_argument_comparison": "tool_call_pivot",
    "conversational_tool_use_simulation": "banking",
}
TWINS: list[tuple[str, str, Any, str]] = [
    ("math_with_judge", "expected_answer", None, "expected_answer"),
    ("math_with_judge", "expected_answer", "", "expected_answer"),
    ("math_with_judge", "expected_answer", "\\frac{1}{", "expected_answer"),
    ("math_with_judge", "responses_create_params", {"input": []}, "responses_create_params.input"),
    ("structured_outputs", "schema_str", "{", "schema_str"),
    ("structured_outputs", "schema_str", None, "schema_str"),
    ("structured_outputs", "responses_create_params", {}, "responses_create_params.input"),
    ("instruction_following", "instruction_id_list", [], "instruction_id_list"),
    ("instruction_following", "instruction_id_list", ["no:such", "no:such"], "instruction_id_list"),
    ("instruction_following", "kwargs", [], "kwargs"),
    ("code_gen", "verifier_metadata", {"unit_tests": {"inputs": [], "outputs": []}}, "verifier_metadata"),
    ("mcqa", "expected_answer", "Z", "expected_answer"),
    ("mcqa", "options", [], "options"),
    ("calendar", "exp_cal_state", None, "exp_cal_state"),
    ("genrm_compare", "principle", 1, "principle"),
    ("multichallenge", "rubric", [], "rubric"),
    ("inverse_if", "judge_prompt_template", "{nothing}", "judge_prompt_template"),
    ("single_step_tool_use_with_argument_comparison", "expected_action", None, "expected_action"),
    (
        *("single_step_tool_use_with_argument_comparison", "expected_action"),
        *({"type": "function_call", "name": "no_such_tool", "arguments": "{}"}, "expected_action.name"),
    ),
]


def read(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{kind}.jsonl").read_text().splitlines()]


def without_padding(value: Any) -> Any:
    """The same without the nulls that fill up structs in published files, and what only they filled."""
    if isinstance(value, dict):
        return {name: without_padding(inner) for name, inner in value.items() if inner is not None}
    return [without_padding(inner) for inner in value] if isinstance(value, list) else value


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    registry = Registry.discover()
    app = build_app([registry.load(name) for name in sorted(set(KINDS.values()))])
    async with await start(app) as served, Client(served.url) as opened:
        yield opened


@pytest.mark.parametrize("kind", KINDS)
async def test_every_published_row_is_ingested_unchanged(published_rows: Path, client: Client, kind: str) -> None:
    rows = read(published_rows, kind)
    reply = await client.post_json(f"/{KINDS[kind]}/ingest", {"rows": rows})
    assert reply["refused"] == []
    for row, task in zip(rows, reply["tasks"], strict=True):
        given = without_padding(row)
        assert {name: without_padding(task.get(name)) for name in given} == given


@pytest.mark.parametrize(("kind", "name", "value", "field"), TWINS)
async def test_a_broken_twin_is_refused_by_its_field(
    published_rows: Path, client: Client, kind: str, name: str, value: Any, field: str
) -> None:
    good = read(published_rows, kind)[0]
    reply = await client.post_json(f"/{KINDS[kind]}/ingest", {"rows": [good, {**good, name: value}, good]})
    assert [task is None for task in reply["tasks"]] == [False, True, False]
    (refusal,) = reply["refused"]
    assert refusal["row"] == 1 and refusal["error"]["code"] == "bad_row"
    assert refusal["error"]["field"].startswith(field) and refusal["error"]["message"]
