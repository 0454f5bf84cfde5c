"""Rows from outside: published math rows, and the raw shapes of DAPO and Skywork that their blends point to."""

from __future__ import annotations

import json
import re
from typing import Any

from environments.maths.exact import plain_number, tidy
from environments.maths.grading import parse_boxed, strip_delimiters
from gym_core.contracts import Task
from gym_core.errors import BadRow

PLACEHOLDER = "_hf_placeholder"


def ingest(task: Task) -> Task:
    """Keep what the row says, drop its null padding, prepare the gold answer. Raises `BadRow` naming the field."""
    if task.get(PLACEHOLDER) is not None:
        raise BadRow(
            "this row is a placeholder: its question and answer still lie in another dataset",
            field=PLACEHOLDER,
            hint="resolve the blend's placeholders (DAPO-Math-17k, Skywork-OR1) before sending its rows",
        )
    fields = {name: value for name, value in task.fields.items() if value is not None}
    answer, where = _answer(fields)
    _check(answer, where)
    task.fields = fields
    task.hidden = {**task.hidden, "expected_answer": answer}
    return task


def _answer(fields: dict[str, Any]) -> tuple[str, str]:
    if "expected_answer" in fields:
        where, answer = "expected_answer", fields["expected_answer"]
    elif isinstance(fields.get("reward_model"), dict) and fields["reward_model"].get("ground_truth") is not None:
        where, answer = "reward_model.ground_truth", _first(fields["reward_model"]["ground_truth"])
    else:
        raise BadRow("a math row needs `expected_answer`", field="expected_answer")
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = str(answer)
    if not isinstance(answer, str):
        raise BadRow(f"`{where}` must be text, not {type(answer).__name__}", field=where)
    return answer, where


def _first(answer: Any) -> Any:
    """Skywork writes some answers as a JSON list or object in text: its first element is meant."""
    if isinstance(answer, str) and answer.strip()[:1] in ("[", "{"):
        try:
            parsed = json.loads(answer)
        except ValueError:
            return answer
        values = list(parsed.values()) if isinstance(parsed, dict) else parsed
        return values[0] if values else answer
    return answer


def _check(answer: str, where: str) -> None:
    """Refuse a gold answer that no reply could ever match."""
    if not _balanced(answer):
        raise BadRow(
            f"`{where}` cannot be read as mathematics: its braces do not match: {answer!r}",
            field=where,
            hint=r"write it as LaTeX, for example \frac{1}{2}",
        )
    stripped = strip_delimiters(answer)
    if stripped and plain_number(tidy(stripped)) is not None:
        return
    try:
        parsed = parse_boxed(stripped) if stripped else []
    except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError) as error:
        raise BadRow(f"`{where}` cannot be read as mathematics: {error}", field=where) from None
    if not parsed:
        raise BadRow(
            f"`{where}` cannot be read as mathematics: {answer!r}",
            field=where,
            hint=r"write it as LaTeX, for example \frac{1}{2}",
        )


def _balanced(text: str) -> bool:
    """Whether every brace that is not escaped is closed: what is not could stand in no \\boxed{}."""
    depth = 0
    for mark in re.findall(r"\\.|[{}]", text, re.DOTALL):
        depth += {"{": 1, "}": -1}.get(mark, 0)
        if depth < 0:
            return False
    return depth == 0


def from_raw(raw: dict[str, Any]) -> dict[str, Any]:
    """A DAPO-Math-17k or Skywork-OR1 row as a task row: `prompt` becomes the input, nothing is lost."""
    prompt = raw.get("prompt")
    if not isinstance(prompt, list) or not prompt:
        raise BadRow("a raw row needs `prompt`, a list of messages", field="prompt")
    rest = {name: value for name, value in raw.items() if name != "prompt" and value is not None}
    return {**rest, "responses_create_params": {"input": prompt}}
