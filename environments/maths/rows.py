"""Rows from outside: what is kept, and the gold answer, which must be readable before anybody is graded by it."""

from __future__ import annotations

import re
from typing import Any

from environments.maths.blends import PLACEHOLDER, first_of, refuse
from environments.maths.deadline import Overrun, deadline
from environments.maths.exact import plain_number, tidy
from environments.maths.grading import STRICT_SECONDS, parse_boxed, strip_delimiters
from environments.maths.magnitude import monstrous
from gym_core.contracts import Task
from gym_core.errors import BadRow


def ingest(task: Task) -> Task:
    """Keep what the row says, drop its null padding, check the gold answer. Raises `BadRow` naming the field."""
    if task.get(PLACEHOLDER) is not None:
        raise refuse(task.fields)
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
        where, answer = "reward_model.ground_truth", first_of(fields["reward_model"]["ground_truth"])
    else:
        raise BadRow("a math row needs `expected_answer`", field="expected_answer")
    if isinstance(answer, int | float) and not isinstance(answer, bool):
        answer = str(answer)
    if not isinstance(answer, str):
        raise BadRow(f"`{where}` must be text, not {type(answer).__name__}", field=where)
    return answer, where


def _check(answer: str, where: str) -> None:
    """Refuse a gold answer that no reply could ever match."""
    if not _balanced(answer):
        raise BadRow(
            f"`{where}` cannot be read as mathematics: its braces do not match: {answer[:200]!r}",
            field=where,
            hint=r"write it as LaTeX, for example \frac{1}{2}",
        )
    stripped = strip_delimiters(answer)
    if stripped and plain_number(tidy(stripped)) is not None:
        return
    if monster := monstrous(tidy(stripped)):
        raise BadRow(f"`{where}` is too large to compare anything with: {monster}", field=where)
    try:
        with deadline(STRICT_SECONDS):
            parsed = parse_boxed(stripped) if stripped else []
    except Overrun:
        raise BadRow(f"`{where}` cannot be read within {STRICT_SECONDS:g} s: {answer[:200]!r}", field=where) from None
    except (ArithmeticError, AttributeError, RecursionError, TypeError, ValueError) as error:
        raise BadRow(f"`{where}` cannot be read as mathematics: {error}", field=where) from None
    if not parsed:
        raise BadRow(
            f"`{where}` cannot be read as mathematics: {answer[:200]!r}",
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
