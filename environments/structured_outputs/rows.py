"""Rows from outside: every published version (v1 to v4) of the structured-outputs data."""

from __future__ import annotations

from typing import Any

from environments.structured_outputs.grading import Wanted, strict_schema
from environments.structured_outputs.reading import FORMATS
from environments.structured_outputs.validation import BadSchema
from gym_core.contracts import Task
from gym_core.errors import BadRow

MODES = ("text", "tool_call")


def wanted_of(task: Task) -> Wanted:
    """What the row asks for. Raises `BadRow` for a field that has no meaning here."""
    schema_str = task.get("schema_str")
    if not isinstance(schema_str, str):
        raise BadRow("`schema_str` must be a JSON Schema as text", field="schema_str")
    kind = _choice(task, "schema_type", FORMATS)
    mode = _choice(task, "response_mode", MODES)
    return Wanted(schema_str, kind, mode, _text(task, "tool_name"), _text(task, "tool_payload_key"))


def _choice(task: Task, field: str, choices: tuple[str, ...]) -> str:
    value: Any = task.get(field)
    if value is None:
        return choices[0]
    if value not in choices:
        raise BadRow(f"`{field}` is one of {', '.join(choices)}, not {value!r}", field=field)
    return str(value)


def _text(task: Task, field: str) -> str | None:
    value = task.get(field)
    if value is not None and not isinstance(value, str):
        raise BadRow(f"`{field}` must be text or null", field=field)
    return value or None


def ingest(task: Task) -> Task:
    """Refuse what can never be graded; the row itself stays as it came."""
    wanted = wanted_of(task)
    try:
        strict_schema(wanted.schema_str)
    except BadSchema as error:
        raise BadRow(
            f"`schema_str` is not a usable JSON Schema: {error}",
            field="schema_str",
            hint="JSON Schema 2020-12; remote references are never fetched",
        ) from None
    names = [tool.get("name") for tool in task.tools if isinstance(tool, dict)]
    if wanted.mode == "tool_call" and names and wanted.tool_name and wanted.tool_name not in names:
        raise BadRow(f"no tool of this row is called {wanted.tool_name!r}", field="tool_name")
    return task
