"""Rows from outside: which public protocol each belongs to, and what of it can never be graded.

outputs, subset                                  ─▶ ruler        every reference must be said
expected_answer, problem_type parents | bfs      ─▶ graphwalks   a list of nodes
question, answer                                 ─▶ aalcr        a judge says CORRECT or INCORRECT, nothing else
expected_answer (or metadata.expected_answer)    ─▶ equivalence  the same, with expressions, swap and rescue
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from environments.long_context_qa.expressions import MAX_PATTERN
from gym_core.contracts import Task
from gym_core.errors import BadRow

RULER, GRAPHWALKS, AALCR, EQUIVALENCE = "ruler", "graphwalks", "aalcr", "equivalence"

LEGACY, V1_1 = "legacy_v1_0", "official_v1_1"
BANDS = ("<80k", "80k-100k", "100k-110k", "110k-128k", "128k+")
LC_QUESTION = r"^QUESTION:\s*(.*)$|</text>\n\n(.*)$"
"""Where the public configuration `lc_judge` finds the question in the last user message."""


class JudgeOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings of the public `equivalence_llm_judge` server; a row may bring its own as `judge_options`."""

    check_twice_swap: bool = False
    reward_if_swap_fails: float = 0.0
    use_per_record_regex: bool = True
    extraction_length_threshold: int | None = 120
    check_full_generation_on_fail: bool = True
    reward_if_full_generation_succeeds: float = 0.5
    question_extract_regex: str | None = None
    response_extract_regex: str | None = None
    max_answer_chars: int | None = None
    judge_equal_label: str = "[[A=B]]"
    judge_not_equal_label: str = "[[A!=B]]"

    def __post_init__(self) -> None:
        for name in ("judge_equal_label", "judge_not_equal_label"):
            if not 1 <= len(getattr(self, name)) <= 40:
                raise ValueError(f"`{name}` has 1 to 40 characters")
        for name in ("reward_if_swap_fails", "reward_if_full_generation_succeeds"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"`{name}` must lie between 0 and 1, as every reward does")
        for name in ("question_extract_regex", "response_extract_regex"):
            if len(getattr(self, name) or "") > MAX_PATTERN:
                raise ValueError(f"`{name}` has at most {MAX_PATTERN} characters")


LC_JUDGE = JudgeOptions(
    question_extract_regex=LC_QUESTION, judge_equal_label="CORRECT", judge_not_equal_label="INCORRECT"
)
"""The public configuration `lc_judge`: rows whose agent is called so, and generated questions over documents."""


def ingest(task: Task) -> Task:
    """The task with its protocol and what that needs, hidden. Raises `BadRow` naming the field."""
    task.fields = {name: value for name, value in task.fields.items() if value is not None}
    protocol = protocol_of(task)
    task.hidden = {**task.hidden, "protocol": protocol, **_READERS[protocol](task)}
    return task


def protocol_of(task: Task) -> str:
    """The protocol that the fields of a row ask for."""
    agent = task.get("agent_ref")
    agent = str(agent.get("name", "")) if isinstance(agent, dict) else ""
    if "outputs" in task.fields:
        return RULER
    if (
        task.get("source") == GRAPHWALKS
        or agent.startswith("lc_niah")
        or task.get("problem_type") in ("parents", "bfs")
    ):
        return GRAPHWALKS
    if "expected_answer" not in task.fields and ("answer" in task.fields or agent.startswith("aalcr")):
        return AALCR
    return EQUIVALENCE


def _ruler(task: Task) -> dict[str, Any]:
    outputs = task.get("outputs")
    if not isinstance(outputs, list) or not outputs:
        raise BadRow("`outputs` must be a list of references, at least one", field="outputs")
    for number, output in enumerate(outputs):
        if not isinstance(output, str) or not output.strip():
            raise BadRow("a reference must be text", field=f"outputs[{number}]")
    subset = task.get("subset", "")
    if not isinstance(subset, str):
        raise BadRow("`subset` must be text, such as niah_single_1", field="subset")
    return {"outputs": outputs, "subset": subset, "question": _row_question(task)}


def _graphwalks(task: Task) -> dict[str, Any]:
    given = _text(task, "expected_answer")
    try:
        nodes = json.loads(given)
    except (ValueError, RecursionError):
        nodes = None
    if not isinstance(nodes, list) or not all(isinstance(node, str) and node.strip() for node in nodes):
        raise BadRow(
            f"`expected_answer` must be a JSON list of nodes, not {given[:80]!r}",
            field="expected_answer",
            hint='for example ["a1b2", "c3d4"]',
        )
    metric = task.get("overlap_metric_rule", "seq_match")
    if metric not in ("seq_match", "ngram16"):
        raise BadRow("`overlap_metric_rule` is seq_match or ngram16", field="overlap_metric_rule")
    rule = task.get("overlap_grading_rule", "multiply")
    if rule not in ("multiply", "base"):
        raise BadRow("`overlap_grading_rule` is multiply or base", field="overlap_grading_rule")
    return {"nodes": nodes, "overlap": (metric, rule)}


def _aalcr(task: Task) -> dict[str, Any]:
    band = task.get("input_tokens_band")
    if band is not None and band not in BANDS:
        raise BadRow(f"`input_tokens_band` is one of {', '.join(BANDS)}", field="input_tokens_band")
    protocol = task.get("aa_lcr_judge_protocol", LEGACY)
    if protocol not in (LEGACY, V1_1):
        raise BadRow(f"`aa_lcr_judge_protocol` is {LEGACY} or {V1_1}", field="aa_lcr_judge_protocol")
    return {"question": _text(task, "question"), "expected": _text(task, "answer"), "judge_protocol": protocol}


def _equivalence(task: Task) -> dict[str, Any]:
    metadata = task.get("metadata")
    if "expected_answer" not in task.fields and isinstance(metadata, dict):
        expected = metadata.get("expected_answer")
        if not isinstance(expected, str) or not expected.strip():
            raise BadRow("`metadata.expected_answer` must be text", field="metadata.expected_answer")
    else:
        expected = _text(task, "expected_answer")
    options = _options(task)
    return {
        "expected": expected,
        "question": _row_question(task),
        "options": options,
        "expression": _expression(task.get("template_metadata")) if options.use_per_record_regex else "",
    }


def _options(task: Task) -> JudgeOptions:
    agent = task.get("agent_ref")
    name = str(agent.get("name", "")) if isinstance(agent, dict) else ""
    given = task.get("judge_options", {})
    defaults = msgspec.structs.asdict(LC_JUDGE) if name.startswith("lc_judge") else {}
    if not isinstance(given, dict):
        raise BadRow("`judge_options` must be an object", field="judge_options")
    try:
        return msgspec.convert({**defaults, **given}, JudgeOptions)
    except (msgspec.ValidationError, ValueError) as error:
        raise BadRow(f"`judge_options`: {error}", field="judge_options") from None


def _expression(metadata: Any) -> str:
    given = metadata.get("output_regex") if isinstance(metadata, dict) else None
    if given is None:
        return ""
    if not isinstance(given, str):
        raise BadRow("`output_regex` must be one expression", field="template_metadata.output_regex")
    if len(given) > MAX_PATTERN:
        raise BadRow(f"an expression has at most {MAX_PATTERN} characters", field="template_metadata.output_regex")
    return given


def _text(task: Task, name: str) -> str:
    value = task.get(name)
    if not isinstance(value, str) or not value.strip():
        raise BadRow(f"`{name}` must be text that is not empty", field=name)
    return value


def _row_question(task: Task) -> str:
    """The row's own question, where it has one; a judge sees the prompt otherwise."""
    question = task.get("question")
    return question if isinstance(question, str) and question.strip() else ""


_READERS = {RULER: _ruler, GRAPHWALKS: _graphwalks, AALCR: _aalcr, EQUIVALENCE: _equivalence}
