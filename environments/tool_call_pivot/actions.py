"""An action: something said, or tools called. The expert's comes from the row, the policy's from its reply.

{"type": "message", "content": text}
{"type": "function_call", "name": name, "arguments": JSON object as text}
{"type": "function_call_batch", "calls": [function_call, …]}        in any order
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from environments.tool_call_pivot.arguments import UNREADABLE, read_expected
from gym_core.errors import BadRow

MAX_CALLS, MAX_DEPTH = 64, 64
"""Of the expert: matching is recursive in the one, comparing in the other."""


@dataclass(slots=True, frozen=True)
class Message:
    content: str


@dataclass(slots=True, frozen=True)
class ToolUse:
    """One call; `arguments` is the JSON text as it was written."""

    name: str
    arguments: str


@dataclass(slots=True, frozen=True)
class ToolUses:
    calls: tuple[ToolUse, ...]


Action = Message | ToolUses


def expected_action(given: Any) -> Action:
    """The expert's action of a row. Raises `BadRow` naming the field."""
    if not isinstance(given, dict):
        raise BadRow("a row needs `expected_action`, an object with a `type`", field="expected_action")
    kind = given.get("type")
    if kind == "message":
        content = given.get("content")
        if not isinstance(content, str):
            raise BadRow("an expected message has its `content` as text", field="expected_action.content")
        return Message(content)
    if kind == "function_call":
        return ToolUses((_call(given, "expected_action"),))
    if kind != "function_call_batch":
        raise BadRow(
            f"`type` is {str(kind)[:60]!r}, but must be message, function_call or function_call_batch",
            field="expected_action.type",
        )
    calls = given.get("calls")
    if not isinstance(calls, list) or not 1 <= len(calls) <= MAX_CALLS:
        raise BadRow(f"`calls` is a list of 1 to {MAX_CALLS} calls", field="expected_action.calls")
    return ToolUses(tuple(_call(call, f"expected_action.calls[{number}]") for number, call in enumerate(calls)))


def _call(given: Any, where: str) -> ToolUse:
    if not isinstance(given, dict) or given.get("type", "function_call") != "function_call":
        raise BadRow('a call is an object of the `type` "function_call"', field=where)
    name, arguments = given.get("name"), given.get("arguments")
    if not isinstance(name, str) or not name:
        raise BadRow("a call names its tool", field=f"{where}.name")
    if not isinstance(arguments, str):
        raise BadRow("`arguments` is a JSON object, written as text", field=f"{where}.arguments")
    value = read_expected(arguments)
    if value is UNREADABLE or _depth(value) > MAX_DEPTH:
        raise BadRow(
            f"`arguments` must be a JSON object, nested {MAX_DEPTH} deep at most",
            field=f"{where}.arguments",
            hint='for example "{\\"order_id\\": \\"A-17\\"}"',
        )
    return ToolUse(name, arguments)


def _depth(value: Any) -> int:
    """Levels of nesting, counted level by level."""
    depth, level = 0, [value]
    while level := [inner for one in level for inner in _inside(one)]:
        depth += 1
    return depth


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def calls_of(items: list[dict[str, Any]]) -> tuple[ToolUse, ...]:
    """The calls of a response in order; arguments that are no text are none."""
    calls = [item for item in items if item.get("type") == "function_call"]
    texts = [call["arguments"] if isinstance(call.get("arguments"), str) else "" for call in calls]
    return tuple(ToolUse(str(call.get("name", "")), text) for call, text in zip(calls, texts, strict=True))


def published_action(items: list[dict[str, Any]]) -> Action | None:
    """The action of a response as the public server reads it: calls before words, and of words the first message."""
    if calls := calls_of(items):
        return ToolUses(calls)
    for item in items:
        kind = item.get("type") or ("message" if "role" in item else "")
        if kind == "message" and item.get("role", "assistant") == "assistant":
            text = _first_text(item.get("content"))
            if text is not None:
                return Message(text)
    return None


def _first_text(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else ()
    for part in parts:
        if isinstance(part, dict) and part.get("type") == "output_text" and isinstance(part.get("text"), str):
            return str(part["text"])
    return None
