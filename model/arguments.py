"""Typed values for XML tool call arguments, which arrive as text, by the tool's declared JSON Schema.

A text that does not fit its schema stays a string: the tool's own check then answers with an error the model can read.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

_JSON_TYPES = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}


def parameter_schemas(tools: Sequence[Mapping[str, Any]] | None) -> dict[str, Mapping[str, Any]]:
    """`parameters` schema of each declared tool by name; tools may be flat or nested under `function`."""
    functions = [tool.get("function", tool) for tool in tools or []]
    return {function.get("name", ""): function.get("parameters") or {} for function in functions}


def typed_arguments(texts: Mapping[str, str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """Convert each argument's text by `schema` (a tool's `parameters`); undeclared arguments stay strings."""
    properties = schema.get("properties")
    fields = properties if isinstance(properties, Mapping) else {}
    return {name: typed_value(text, fields.get(name), schema) for name, text in texts.items()}


def typed_value(text: str, field: Any, root: Mapping[str, Any]) -> Any:
    """`text` as the first type it fits of null, boolean, integer, number, array, object; else the text itself."""
    types = _types(field, root)
    # Where a string is allowed too, only JSON's own spelling counts as another type.
    token = text.strip()
    word = token if "string" in types else token.lower().replace("none", "null")
    if "null" in types and word == "null":
        return None
    if "boolean" in types and word in ("true", "false"):
        return word == "true"
    wanted = types & {"integer", "number", "array", "object"}
    if not wanted:
        return text
    value = _json(token)
    kind = _JSON_TYPES.get(type(value))
    if kind == "number" and "number" not in wanted:
        return int(value) if "integer" in wanted and value.is_integer() else text
    if kind == "integer" and "number" in wanted:
        return value
    return value if kind in wanted else text


def dumps(value: Any) -> str:
    """JSON text that always encodes as UTF-8: escapes only what would not (a lone surrogate)."""
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


def _json(text: str) -> Any:
    """A finite JSON value, or None when `text` is anything else."""
    try:
        value = json.loads(text)
        json.dumps(value, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    return value


def _types(field: Any, root: Mapping[str, Any]) -> set[str]:
    """The JSON types a schema allows, looking through unions, enum, const and local `$ref`s; empty when it says none.

    Visits each subschema once, so a schema that refers to itself costs nothing.
    """
    types: set[str] = set()
    pending, seen = [field], set()
    while pending:
        schema = pending.pop()
        if not isinstance(schema, Mapping) or id(schema) in seen:
            continue
        seen.add(id(schema))
        types.update(_own_types(schema))
        if isinstance(reference := schema.get("$ref"), str):
            pending.append(resolve(reference, root))
        for union in ("anyOf", "oneOf", "allOf"):
            pending.extend(_sequence(schema.get(union)))
    return types


def _own_types(schema: Mapping[str, Any]) -> list[str]:
    declared = schema.get("type")
    if declared is not None:
        names = [declared] if isinstance(declared, str) else _sequence(declared)
        return [name for name in names if isinstance(name, str)]
    values = [schema["const"]] if "const" in schema else _sequence(schema.get("enum"))
    return ["null" if value is None else _JSON_TYPES.get(type(value), "string") for value in values]


def _sequence(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def resolve(reference: str, root: Mapping[str, Any]) -> Any:
    """What a local reference such as `#/$defs/Point` points at; None when it points nowhere."""
    node: Any = root
    for key in reference.removeprefix("#/").split("/"):
        node = node.get(key) if isinstance(node, Mapping) else None
    return node
