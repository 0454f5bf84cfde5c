"""Where a request says what its answer has to be: `response_format`, `text.format`, vLLM's fields, `tool_choice`.

{"type": "json_schema", …} | {"type": "json_object"} | guided_json | structured_outputs ─▶ Constraint
tool_choice "required" or a named function ─▶ Constraint of the call format
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gym_core.errors import BadRequest
from policy_server.grammar import Constraint
from policy_server.tool_grammar import tool_grammar

_ANY_OBJECT: dict[str, Any] = {"type": "object"}
_SHAPES = ("json", "regex", "choice", "grammar", "json_object")


def format_constraint(given: Mapping[str, Any] | None, field: str) -> Constraint | None:
    """Of `response_format` (schema nested) or `text.format` (schema flat). Raises `BadRequest` naming the field."""
    kind = "text" if given is None else given.get("type", "text")
    if given is None or kind == "text":
        return None
    if kind == "json_object":
        return _json(_ANY_OBJECT, field, {"response_format": {"type": "json_object"}}, {"json_object": True})
    if kind != "json_schema":
        hint = 'use "text", "json_object" or "json_schema"'
        raise BadRequest(f"there is no output format {kind!r} here", field=_path(given, field), hint=hint)
    nested = given.get("json_schema")
    held, path = (nested, f"{field}.json_schema") if isinstance(nested, Mapping) else (given, field)
    schema = held.get("schema")
    if not isinstance(schema, dict | bool):
        raise BadRequest("a JSON Schema is an object", field=f"{path}.schema", hint="give the schema of the answer")
    chat = {"name": held.get("name", "answer"), "schema": schema, "strict": held.get("strict", True)}
    asked = {"response_format": {"type": "json_schema", "json_schema": chat}}
    return _json(schema, f"{path}.schema", asked, {"json": schema})


def guided_constraint(guided_json: Any, structured: Mapping[str, Any] | None) -> Constraint | None:
    """Of vLLM's `guided_json` and `structured_outputs`. Raises `BadRequest` naming the field."""
    if guided_json is not None:
        return structured_constraint({"json": guided_json}, "guided_json")
    return None if structured is None else structured_constraint(structured, "structured_outputs")


def structured_constraint(given: Mapping[str, Any], field: str) -> Constraint | None:
    """One of json, regex, choice, grammar (Lark), json_object."""
    told = {name: given[name] for name in _SHAPES if given.get(name) not in (None, False)}
    if not told:
        return None
    if len(told) > 1:
        raise BadRequest(f"an answer cannot be held to {' and '.join(told)} at once", field=field)
    [(shape, value)] = told.items()
    path = field if field == "guided_json" else f"{field}.{shape}"
    asked = {"structured_outputs": told}
    if shape in ("json", "json_object"):
        schema = _ANY_OBJECT if shape == "json_object" else _schema(value, path)
        return _json(schema, path, asked, told)
    if shape == "choice":
        if not (isinstance(value, list) and value and all(isinstance(text, str) and text for text in value)):
            raise BadRequest("a choice is a list of texts that are not empty", field=path)
        texts = " | ".join(msgspec.json.encode(text).decode() for text in value)
        return Constraint("lark", f"start: {texts}\n", path, asked, asked)
    if not (isinstance(value, str) and value):
        raise BadRequest("must be a text that is not empty", field=path)
    return Constraint("regex" if shape == "regex" else "lark", value, path, asked, asked)


def only_one(*constraints: Constraint | None) -> Constraint | None:
    """The one that was given. Raises `BadRequest` when there are several."""
    given = [constraint for constraint in constraints if constraint is not None]
    if len(given) > 1:
        raise BadRequest(f"{given[0].field} already says what the answer has to be", field=given[1].field)
    return given[0] if given else None


def calls_constraint(
    tool_choice: str | Mapping[str, Any] | None, tools: Sequence[Mapping[str, Any]], parallel: bool | None
) -> Constraint | None:
    """Of `tool_choice`: None for auto and none. `tools` as the template takes them. Raises `BadRequest`."""
    if tool_choice in (None, "auto", "none"):
        return None
    name = _named(tool_choice)
    chosen = [tool for tool in tools if name is None or tool.get("function", tool)["name"] == name]
    if not chosen:
        what = "there are no tools to call" if name is None else f"there is no tool {name!r}"
        known = ", ".join(tool.get("function", tool)["name"] for tool in tools) or "none"
        raise BadRequest(f"{what}; the request declares {known}", field="tool_choice")
    many = name is None and parallel is not False
    function = {"type": "function", "function": {"name": name}}
    text = tool_grammar(chosen, many)
    return Constraint("lark", text, "tool_choice", {"tool_choice": "required" if name is None else function})


def _named(tool_choice: str | Mapping[str, Any] | None) -> str | None:
    """The function a choice names, in either API's shape; None for `required`."""
    if tool_choice == "required":
        return None
    if isinstance(tool_choice, Mapping) and tool_choice.get("type") == "function":
        held = tool_choice.get("function", tool_choice)
        name = held.get("name") if isinstance(held, Mapping) else None
        if isinstance(name, str) and name:
            return name
    raise BadRequest(
        f"tool_choice={tool_choice!r} is not supported here",
        field="tool_choice",
        hint='use "auto", "none", "required" or {"type": "function", "function": {"name": …}}',
    )


def _json(schema: Any, field: str, chat: Mapping[str, Any], told: Mapping[str, Any]) -> Constraint:
    raw = {"structured_outputs": dict(told)}
    return Constraint("json_schema", msgspec.json.encode(schema).decode(), field, chat, raw)


def _schema(value: Any, field: str) -> Any:
    """A schema, or the text of one."""
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise BadRequest(f"not JSON: {error}", field=field) from None
    if not isinstance(value, dict | bool):
        raise BadRequest("a JSON Schema is an object", field=field)
    return value


def _path(given: Mapping[str, Any], field: str) -> str:
    return f"{field}.type" if field == "text.format" else field
