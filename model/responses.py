"""OpenAI Responses `input` and `tools`, turned into chat messages and chat tools.

One assistant turn is a run of reasoning, message and function_call items; a turn ends at any other item, and where the
order (reasoning, then message, then calls) starts again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

TEXT_PARTS = ("input_text", "output_text", "text", "reasoning_text", "summary_text")
ROLES = ("system", "developer", "user", "assistant")


def flatten_parts(content: Any, where: str) -> str:
    """The text of a message's `content`: a string, None, or a list of text parts. ValueError names any other part."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        raise ValueError(f"{where} must be a string or a list of parts, not {type(content).__name__}")
    return "".join(_part_text(part, f"{where}[{i}]") for i, part in enumerate(content))


def messages_from_responses(
    items: str | Sequence[Mapping[str, Any]], instructions: str | None = None
) -> list[dict[str, Any]]:
    """Chat messages of a Responses `input`. `instructions` are put before the first system message's text.

    Raises ValueError naming the item and field that is malformed; token bundles and other extra fields are ignored.
    """
    messages: list[dict[str, Any]] = []
    if isinstance(items, str):
        messages.append({"role": "user", "content": items})
    elif isinstance(items, Sequence):
        called: set[str] = set()
        for i, item in enumerate(items):
            _add_item(messages, item, called, f"input[{i}]")
    else:
        raise ValueError(f"input must be a string or a list of items, not {type(items).__name__}")
    return _with_instructions(messages, instructions)


def tools_from_responses(tools: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """Chat tools `{type, function: {name, description, parameters}}` of flat or nested ones; None gives [].

    Raises ValueError naming the tool that is malformed or not a function.
    """
    return [_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools or [])]


def _add_item(messages: list[dict[str, Any]], item: Any, called: set[str], where: str) -> None:
    if not isinstance(item, Mapping):
        raise ValueError(f"{where} must be an object, not {type(item).__name__}")
    kind = item.get("type") or ("message" if "role" in item else None)
    if kind == "message":
        _add_message(messages, item, where)
    elif kind == "reasoning":
        turn = _turn(messages, closed_by=("reasoning_content", "content", "tool_calls"))
        turn["reasoning_content"] = _reasoning(item, where)
    elif kind == "function_call":
        call_id = _string(item, "call_id", where)
        function = {"name": _string(item, "name", where), "arguments": _string(item, "arguments", where)}
        called.add(call_id)
        calls = _turn(messages, closed_by=()).setdefault("tool_calls", [])
        calls.append({"id": call_id, "type": "function", "function": function})
    elif kind == "function_call_output":
        call_id = _string(item, "call_id", where)
        if call_id not in called:
            raise ValueError(f"{where}.call_id {call_id!r} answers no function_call before it")
        if item.get("output") is None:
            raise ValueError(f"{where}.output is missing; a tool result is a string or a list of text parts")
        output = flatten_parts(item["output"], f"{where}.output")
        messages.append({"role": "tool", "tool_call_id": call_id, "content": output})
    else:
        raise ValueError(
            f"{where}.type is {kind!r}; use message, reasoning, function_call or function_call_output, "
            "or give a role for a plain message"
        )


def _add_message(messages: list[dict[str, Any]], item: Mapping[str, Any], where: str) -> None:
    role = item.get("role")
    if role not in ROLES:
        raise ValueError(f"{where}.role is {role!r}; use one of {', '.join(ROLES)}")
    if item.get("content") is None and role != "assistant":
        raise ValueError(f"{where}.content is missing; a message is a string or a list of text parts")
    text = flatten_parts(item.get("content"), f"{where}.content")
    if role == "assistant":
        _turn(messages, closed_by=("content", "tool_calls"))["content"] = text
    else:
        messages.append({"role": "system" if role == "developer" else role, "content": text})


def _turn(messages: list[dict[str, Any]], closed_by: Sequence[str]) -> dict[str, Any]:
    """The assistant turn under way, or a new one when there is none or it already holds one of `closed_by`."""
    if not messages or messages[-1]["role"] != "assistant" or any(messages[-1].get(key) for key in closed_by):
        messages.append({"role": "assistant", "content": ""})
    return messages[-1]


def _reasoning(item: Mapping[str, Any], where: str) -> str:
    """Reasoning text: `content` when there is some, else the `summary` parts."""
    full = flatten_parts(item.get("content"), f"{where}.content")
    summary = item.get("summary") or []
    if not isinstance(summary, list | tuple):
        raise ValueError(f"{where}.summary must be a list of parts, not {type(summary).__name__}")
    return full or "\n".join(_part_text(part, f"{where}.summary[{i}]") for i, part in enumerate(summary))


def _part_text(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type") if isinstance(part, Mapping) else type(part).__name__
    text = part.get("refusal" if kind == "refusal" else "text") if isinstance(part, Mapping) else None
    if kind not in (*TEXT_PARTS, "refusal") or not isinstance(text, str):
        raise ValueError(f"{where} is a {kind!r} part; only text parts with a `text` string are supported")
    return text


def _string(item: Mapping[str, Any], field: str, where: str) -> str:
    value = item.get(field)
    if not isinstance(value, str):
        raise ValueError(f"{where}.{field} must be a string, not {type(value).__name__}")
    return value


def _with_instructions(messages: list[dict[str, Any]], instructions: str | None) -> list[dict[str, Any]]:
    if not instructions:
        return messages
    if messages and messages[0]["role"] == "system":
        texts = [text for text in (instructions, messages[0]["content"]) if text]
        return [{"role": "system", "content": "\n\n".join(texts)}, *messages[1:]]
    return [{"role": "system", "content": instructions}, *messages]


def _tool(tool: Any, where: str) -> dict[str, Any]:
    if not isinstance(tool, Mapping) or tool.get("type", "function") != "function":
        kind = tool.get("type") if isinstance(tool, Mapping) else type(tool).__name__
        raise ValueError(f"{where} is a {kind!r}; only tools of type 'function' are supported")
    function = tool.get("function", tool)
    if not isinstance(function, Mapping):
        raise ValueError(f"{where}.function must be an object, not {type(function).__name__}")
    chat = {"name": _string(function, "name", where)}
    if function.get("description"):
        chat["description"] = _string(function, "description", where)
    parameters = function.get("parameters")
    if not isinstance(parameters or {}, Mapping):
        raise ValueError(f"{where}.parameters must be a JSON Schema object, not {type(parameters).__name__}")
    return {"type": "function", "function": {**chat, "parameters": parameters or {}}}
