"""Rows from outside: NeMo Gym's `math_formal_lean`, miniF2F in its published shapes, Kimina's prompts.

NeMo Gym    {responses_create_params, header, formal_statement, informal_prefix, name, split}
miniF2F     {name | id, split, header, formal_statement, informal_prefix | informal_stmt, …}     no prompt: made here
Kimina      {uuid | name, statement | formal_statement | lean_code}, imports and all in one text    no prompt: made here
"""

from __future__ import annotations

import re
from typing import Any

from environments.lean_proofs.lexer import words
from environments.lean_proofs.statement import Pinned, pin
from gym_core.contracts import Task
from gym_core.errors import BadRow

STATEMENT = "formal_statement"
_WHOLE = ("formal_statement", "statement", "lean_code", "lean4_code")
_HEAD = re.compile(r"^(?:theorem|lemma)\b", re.MULTILINE)
_PROMPT = (
    "Complete the following Lean 4 code:\n\n```lean4\n{code}\n```\n\nReply with the whole theorem and its proof in a"
    " ```lean4 block."
)
_SCOPES = ("namespace",)


def reshape(row: dict[str, Any]) -> dict[str, Any]:
    """A row without a prompt, as one that has it. Raises `BadRow` where there is no statement."""
    header, statement, _ = parts(row)
    informal = row.get("informal_prefix") or ""
    body = statement.rstrip()
    body = body if body.endswith("sorry") else re.sub(r"\s*:=\s*(by)?$", "", body) + " := by\n  sorry"
    code = f"{header}{informal if isinstance(informal, str) else ''}{body}"
    return {**row, "responses_create_params": {"input": _PROMPT.format(code=code)}}


def ingest(task: Task) -> Task:
    """The task with its pinned statement. Raises `BadRow` with the field's path for what can never be judged."""
    if task.get("_hf_placeholder") is not None:
        raise BadRow("this row is a placeholder: its statement lies in another dataset", field="_hf_placeholder")
    header, statement, field = parts(task.fields)
    pinned = pin(header, statement, field)
    if any(word in _SCOPES for word in words(header)):
        raise BadRow("a header may not open a namespace: the theorem would have another name", field="header")
    offered = {tool.get("name") for tool in task.tools}
    mode = "steps" if "apply_tactic" in offered else "correct" if "check" in offered else "whole"
    task.hidden = {
        **task.hidden,
        "header": header,
        STATEMENT: statement,
        "pinned": pinned.digest,
        "mode": mode,
        "one_text": header != task.fields.get("header"),
    }
    return task


def parts(row: dict[str, Any]) -> tuple[str, str, str]:
    """Header, statement, and the field that they come from. Raises `BadRow`."""
    field = next((name for name in _WHOLE if isinstance(row.get(name), str) and row[name].strip()), "")
    if not field:
        raise BadRow(
            f"a Lean row needs `{STATEMENT}`, a theorem to prove", field=STATEMENT, hint="with its `header` beside it"
        )
    text: str = row[field]
    header = row.get("header")
    if header is not None and not isinstance(header, str):
        raise BadRow("`header` must be Lean source", field="header")
    if header is not None:
        return header, text, field
    head = _HEAD.search(text)
    if head is None:
        raise BadRow("there is no theorem in it", field=field)
    return text[: head.start()], text[head.start() :], field


def pinned_of(task: Task) -> Pinned:
    """The pinned statement of a task, whose digest must be the one that was taken when it came in."""
    pinned = pin(task["header"], task[STATEMENT])
    if pinned.digest != task["pinned"]:
        raise BadRow("header and statement are not those that were pinned", field=STATEMENT)
    return pinned
