"""Rows from outside: those of the public data, unchanged, and our own with `message_facts` for exact messages.

{"responses_create_params": {"input": [the trajectory so far], "tools": [...]}, "expected_action": {...}}
"""

from __future__ import annotations

from typing import Any

from environments.tool_call_pivot.actions import Action, Message, expected_action
from environments.tool_call_pivot.messages import Facts, facts_of
from gym_core.contracts import Task
from gym_core.errors import BadRow


def expected_of(task: Task) -> Action:
    """The expert's action of a row or a generated task. Raises `BadRow` naming the field."""
    return expected_action(task.get("expected_action"))


def facts(task: Task) -> Facts | None:
    return facts_of(task.get("message_facts"))


def declared_names(task: Task) -> list[str]:
    """The names of the declared tools, in the Responses form and in that of chat completions."""
    tools = [tool for tool in task.tools if isinstance(tool, dict)]
    inner = [tool["function"] if isinstance(tool.get("function"), dict) else tool for tool in tools]
    return [tool["name"] for tool in inner if isinstance(tool.get("name"), str)]


def ingest(task: Task) -> Task:
    """Refuse what can never be earned; the row itself stays as it came. Raises `BadRow` naming the field."""
    expected, checks = expected_of(task), facts(task)
    if isinstance(expected, Message):
        if checks is None and not expected.content.strip():
            raise BadRow("an expected message that says nothing", field="expected_action.content")
        return task
    if checks is not None:
        raise BadRow("`message_facts` belongs to an expected message", field="message_facts")
    names = set(declared_names(task))
    if not names:
        return task
    for number, call in enumerate(expected.calls):
        if call.name not in names:
            where = f"calls[{number}].name" if len(expected.calls) > 1 else "name"
            raise BadRow(f"no tool of this row is called {call.name[:60]!r}", field=f"expected_action.{where}")
    return task


def told(task: Task) -> list[str]:
    """The texts of the trajectory so far that a reply could repeat: messages, and what tools returned."""
    texts: list[Any] = []
    for item in task.messages:
        if item.get("type") == "function_call_output":
            texts.append(item.get("output"))
        elif "role" in item:
            texts.append(said(item))
    return [text for text in texts if isinstance(text, str)]


def said(item: dict[str, Any]) -> str:
    """The text of a message, whoever wrote it and in whichever parts."""
    content = item.get("content")
    parts = [part.get("text") for part in content if isinstance(part, dict)] if isinstance(content, list) else [content]
    return "".join(part for part in parts if isinstance(part, str))
