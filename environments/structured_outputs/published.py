"""The public verifier's reading, weaknesses included.

Source: NVIDIA-NeMo/Gym @ 07d6b0d0, `resources_servers/structured_outputs/app.py`: `json.loads` (NaN, Infinity and
duplicate keys pass), `yaml.safe_load`, `xmltodict` and `csv.DictReader` with their own coercions, `tomllib`; then
OpenAPI 3.1 (JSON Schema 2020-12, no format checker) over a schema whose dictionaries were made strict.
"""

from __future__ import annotations

import csv
import io
import json
import tomllib
from collections.abc import Iterable
from typing import Any

from environments.structured_outputs.reading import ParseError, count_aliases, refuse_bombs
from gym_core.reply import ToolCall

MAX_ALIASES = 32
"""YAML aliases beyond this could multiply into more than memory."""


def read(kind: str, text: str, schema: Any) -> Any:
    """The value the public verifier would validate. Raises `ParseError` for everything it would catch."""
    refuse_bombs(kind, text)
    try:
        if kind == "json":
            return json.loads(text)
        if kind == "yaml":
            return _read_yaml(text)
        if kind == "toml":
            return tomllib.loads(text)
        if kind == "xml":
            return _from_xml(_read_xml(text), schema)
        return _from_csv(list(csv.DictReader(io.StringIO(text))), schema)
    except RecursionError:
        raise ParseError("nested too deeply") from None
    except ParseError:
        raise
    except (ValueError, ArithmeticError, AttributeError, TypeError, csv.Error) as error:
        raise ParseError(f"{type(error).__name__}: {str(error)[:160]}") from None


def _read_yaml(text: str) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if count_aliases(text) > MAX_ALIASES:
            raise ParseError(f"more than {MAX_ALIASES} aliases")
        return yaml.load(text, Loader=loader)
    except yaml.YAMLError as error:
        raise ParseError(f"{type(error).__name__}: {str(error)[:160]}") from None


def _read_xml(text: str) -> Any:
    from xml.parsers.expat import ExpatError

    import xmltodict

    try:
        return xmltodict.parse(text)
    except ExpatError as error:
        raise ParseError(f"ExpatError: {error}") from None


def _from_xml(value: Any, schema: Any) -> Any:
    if not isinstance(schema, dict) or "type" not in schema:
        return value
    kind = schema["type"]
    if kind == "object" and isinstance(value, dict):
        properties = schema.get("properties", {})
        return {key: _from_xml(inner, properties[key]) if key in properties else inner for key, inner in value.items()}
    if kind == "array":
        if isinstance(value, dict) and len(value) == 1:
            value = next(iter(value.values()))
        if not isinstance(value, list):
            value = [] if value is None else [value]
        return [_from_xml(item, schema.get("items", {})) for item in value]
    if value is None and kind == "string":
        return ""
    return _scalar(value, kind) if isinstance(value, str) else value


def _from_csv(rows: Iterable[dict[Any, Any]], schema: Any) -> list[dict[Any, Any]]:
    properties = schema.get("items", schema).get("properties", {})
    return [
        {key: _cell(value, properties.get(key, {}).get("type", "string")) for key, value in row.items()} for row in rows
    ]


def _cell(value: Any, kind: Any) -> Any:
    if isinstance(kind, list):
        if (value is None or value == "") and "null" in kind:
            return None
        for name in kind:
            if name == "null":
                continue
            typed = _cell(value, name)
            if not isinstance(typed, str) or name == "string":
                return typed
        return value
    if value is None or value == "":
        return value
    return _scalar(value, kind)


def _scalar(value: Any, kind: Any) -> Any:
    """Python's own `int` and `float`: ` 1_000 `, `nan` and full-width digits pass."""
    try:
        if kind == "integer":
            return int(value)
        if kind == "number":
            return float(value)
        if kind == "boolean":
            lower = value.lower()
            if lower in ("true", "1"):
                return True
            if lower in ("false", "0"):
                return False
    except (ValueError, AttributeError):
        return value
    return value


def tool_payload(calls: Iterable[ToolCall], name: str | None, key: str | None) -> Any:
    """Arguments of the one function call, or what lies under `key` in them. Raises `ParseError`."""
    calls = list(calls)
    if len(calls) != 1:
        raise ParseError("missing_tool_call" if not calls else "multiple_tool_calls")
    if name and calls[0].name != name:
        raise ParseError("wrong_tool_name")
    try:
        arguments = json.loads(calls[0].arguments)
    except (ValueError, RecursionError):
        raise ParseError("tool_arguments_parse_error") from None
    if not key:
        return arguments
    if not isinstance(arguments, dict) or key not in arguments:
        raise ParseError("missing_tool_payload_key")
    return arguments[key]
