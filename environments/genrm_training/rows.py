"""Rows from outside: those of Nemotron-RLHF-GenRM-v1, and HelpSteer3 preferences, which become such rows.

messages, num_responses, score_1, score_2, ranking        the judge's whole prompt; scores may be null, both
context, response1, response2, overall_preference         -3 … 3: the first far better … the second far better
"""

from __future__ import annotations

import math
from typing import Any

from gym_core.contracts import Task
from gym_core.errors import BadRow
from gym_core.judge.genrm import COMPARISON, HELPFUL, RANKINGS, SCORES, Comparison

PREFERENCE = {-3: 1, -2: 2, -1: 3, 1: 4, 2: 5, 3: 6}
"""HelpSteer3's scale to the ranking; 0 names no winner, and the ranking has no tie."""


def reshape(row: dict[str, Any]) -> dict[str, Any]:
    """Either shape as a row with `responses_create_params`. Raises `BadRow` naming the field."""
    if "overall_preference" in row:
        return _from_preference(row)
    if "messages" in row:
        rest = {name: value for name, value in row.items() if name != "messages"}
        return {"responses_create_params": {"input": row["messages"]}, **rest}
    return row


def _from_preference(row: dict[str, Any]) -> dict[str, Any]:
    context, preference = row.get("context"), row["overall_preference"]
    if not isinstance(context, list) or not all(_is_message(item) for item in context) or not context:
        raise BadRow("`context` must be a list of messages", field="context")
    for name in ("response1", "response2"):
        if not isinstance(row.get(name), str) or not row[name].strip():
            raise BadRow(f"`{name}` must be text", field=name)
    if isinstance(preference, bool) or preference not in PREFERENCE:
        raise BadRow(
            f"`overall_preference` is {preference!r}, but must be one of {', '.join(map(str, PREFERENCE))}",
            field="overall_preference",
            hint="a preference of 0 names no winner: leave such pairs out",
        )
    fields = {
        "conversation": "\n\n".join(f"[{item['role'].upper()}]: {item['content']}" for item in context),
        "principle": HELPFUL,
        "response_1": row["response1"],
        "response_2": row["response2"],
    }
    added = {"num_responses": 2, "score_1": None, "score_2": None, "ranking": PREFERENCE[preference]}
    return {"responses_create_params": {"input": COMPARISON.messages(fields)}, **row, **added}


def _is_message(item: Any) -> bool:
    return isinstance(item, dict) and all(isinstance(item.get(name), str) for name in ("role", "content"))


def ingest(task: Task) -> Task:
    """Check the row; it stays as it came. Raises `BadRow` naming the field."""
    if task.messages[-1].get("role") != "user":
        raise BadRow("the prompt must end with the user", field="responses_create_params.input")
    if task.get("num_responses", 2) != 2:
        raise BadRow(f"`num_responses` is {task.get('num_responses')!r}, only pairs are rated", field="num_responses")
    truth_of(task)
    return task


def truth_of(task: Task) -> Comparison:
    """The judgement that the row, or the generator, holds for true. Raises `BadRow` naming the field."""
    first, second = task.get("score_1"), task.get("score_2")
    if (first is None) != (second is None):
        missing = "score_1" if first is None else "score_2"
        raise BadRow("`score_1` and `score_2` are both given or both null", field=missing)
    ranking = _number(task.get("ranking"), RANKINGS, "ranking")
    if first is None:
        return Comparison(None, None, ranking)
    return Comparison(_number(first, SCORES, "score_1"), _number(second, SCORES, "score_2"), ranking)


def _number(value: Any, bounds: tuple[int, int], name: str) -> float:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not fits or not bounds[0] <= value <= bounds[1]:
        raise BadRow(f"`{name}` is {value!r}, but must be a number from {bounds[0]} to {bounds[1]}", field=name)
    return float(value)
