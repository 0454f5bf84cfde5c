"""Published rows: a conversation with a rubric (`multichallenge`), or a prompt with criteria and a judge's own template
(`inverse_if`). Rubric, context and reference may lie at the top or in `metadata`, as in public."""

from __future__ import annotations

import math
from typing import Any

from gym_core.contracts import Task
from gym_core.errors import BadRow
from gym_core.judge.rubric import AGGREGATES, RubricItem
from gym_core.reply import message_text

PASS_CRITERIA = {"YES": True, "NO": False}
MAX_ITEMS = 64


def ingest(task: Task) -> Task:
    """Check the row; it stays as it came. Raises `BadRow` naming the field."""
    rubric = given_rubric(task)
    if not isinstance(rubric, list) or not rubric:
        raise BadRow(
            "`rubric` must be a list of one item or more",
            field="rubric",
            hint="an empty rubric is satisfied by anything",
        )
    if len(rubric) > MAX_ITEMS:
        raise BadRow(f"a rubric has at most {MAX_ITEMS} items", field="rubric")
    for number, item in enumerate(rubric):
        if not isinstance(item, dict):
            raise BadRow("an item of a rubric must be an object", field=f"rubric[{number}]")
        _check(item, f"rubric[{number}]", inverse=is_inverse(task))
    if aggregation(task) not in AGGREGATES:
        raise BadRow(f"`aggregation_mode` is one of {', '.join(AGGREGATES)}", field="aggregation_mode")
    for name in ("judge_prompt_template", "judge_system_prompt", "reference_response", "prompt", "context"):
        if not isinstance(field(task, name), str | None):
            raise BadRow(f"`{name}` must be text", field=name)
    template = task.get("judge_prompt_template")
    if template and not all(f"{{{name}}}" in template for name in ("model_response", "criteria")):
        raise BadRow(
            "a judge's template must have a place for {model_response} and for {criteria}",
            field="judge_prompt_template",
        )
    return task


def _check(item: dict[str, Any], path: str, *, inverse: bool) -> None:
    name = "criteria" if inverse else "question"
    if not isinstance(item.get(name), str) or not item[name].strip():
        raise BadRow(f"`{name}` must be text", field=f"{path}.{name}")
    if str(item.get("pass_criteria") or "YES").upper() not in PASS_CRITERIA:
        raise BadRow("`pass_criteria` is YES or NO", field=f"{path}.pass_criteria")
    weight = item.get("weight")
    if weight is None:
        return
    fits = isinstance(weight, int | float) and not isinstance(weight, bool) and math.isfinite(weight)
    if not fits or weight <= 0:
        raise BadRow("`weight` must be a number above 0", field=f"{path}.weight")


def field(task: Task, name: str) -> Any:
    """A field of the row, else of its metadata, as the public servers look for it."""
    found = task.get(name)
    metadata = task.get("metadata")
    if not found and isinstance(metadata, dict):
        found = metadata.get(name)
    return found


def given_rubric(task: Task) -> Any:
    return field(task, "rubric")


def is_inverse(task: Task) -> bool:
    """True for a row whose judge says PASS or FAIL of each criterion."""
    rubric = given_rubric(task)
    listed = rubric if isinstance(rubric, list) else []
    return bool(task.get("judge_prompt_template")) or any(
        isinstance(item, dict) and "criteria" in item and "question" not in item for item in listed
    )


def rubric_items(task: Task) -> list[RubricItem]:
    """The rubric as questions; a criterion is a question whose answer should be yes."""
    return [
        RubricItem(
            question=item.get("criteria") if is_inverse(task) else item["question"],
            wanted=PASS_CRITERIA[str(item.get("pass_criteria") or "YES").upper()],
            weight=float(item.get("weight") or 1.0),
        )
        for item in given_rubric(task)
    ]


def aggregation(task: Task) -> str:
    return str(task.get("aggregation_mode") or "mean")


def context(task: Task) -> str:
    """The conversation as the judge reads it: the row's own text, else its messages, thinking ones aside."""
    stated = task.get("context")
    if stated:
        return str(stated)
    metadata = task.get("metadata")
    messages = metadata.get("messages") if isinstance(metadata, dict) else None
    listed = messages if isinstance(messages, list) else task.messages
    told = [
        f"[{str(item.get('role', 'unknown')).upper()}]: {_content(item)}"
        for item in listed
        if isinstance(item, dict) and item.get("role") != "thinking"
    ]
    return "\n\n".join(told)


def _content(item: dict[str, Any]) -> str:
    content = item.get("content", "")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return message_text(item) or "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))


def prompt(task: Task) -> str:
    """What an inverse row asks."""
    return str(field(task, "prompt") or "\n\n".join(_content(item) for item in task.messages))
