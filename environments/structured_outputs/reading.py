"""Texts of the five formats as values, strictly: no second meaning, no second document, no second value for a key."""

from __future__ import annotations

import csv
import functools
import io
import json
import math
import re
import tomllib
from typing import Any

from environments.structured_outputs.strictness import resolve

FORMATS = ("json", "yaml", "xml", "toml", "csv")
MAX_LENGTH = 100_000
MAX_BRACKETS = 200
"""Brackets deeper than this are refused before a parser whose time grows with the square of the depth sees them."""

_DOTTED = re.compile(r"""(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){48}""")
_LONG_NUMBER = re.compile(r"0[xobXOB][0-9A-Fa-f_]{400}|[0-9][0-9_]{4300}")
_COMPACT_NESTING = re.compile(r"(?:[-?:][ \t]+){48}")
_INTEGER = re.compile(r"-?(?:0|[1-9]\d{0,400})", re.ASCII)
_NUMBER = re.compile(r"-?(?:0|[1-9]\d{0,400})(?:\.\d{1,400})?(?:[eE][+-]?\d{1,3})?", re.ASCII)


class ParseError(ValueError):
    """The text is not what its format asks for."""


def read(kind: str, text: str, schema: Any) -> Any:
    """The value a text says, typed by the schema where the format has no types. Raises `ParseError`."""
    refuse_bombs(kind, text)
    if text.lstrip().startswith("```"):
        raise ParseError("a code fence is not part of the answer")
    try:
        if kind == "json":
            return read_json(text)
        if kind == "yaml":
            return _read_yaml(text)
        if kind == "toml":
            return tomllib.loads(text)
        return _read_xml(text, schema) if kind == "xml" else _read_csv(text, schema)
    except RecursionError:
        raise ParseError("nested too deeply") from None
    except ParseError:
        raise
    except (ValueError, ArithmeticError, csv.Error) as error:
        raise ParseError(f"{type(error).__name__}: {str(error)[:160]}") from None


def refuse_bombs(kind: str, text: str) -> None:
    """Raise `ParseError` for a text that is short to write and long to read."""
    if len(text) > MAX_LENGTH:
        raise ParseError(f"longer than {MAX_LENGTH} characters")
    if kind in ("toml", "yaml") and _LONG_NUMBER.search(text):
        raise ParseError("a number of very many digits")
    if kind == "toml" and _DOTTED.search(text):
        raise ParseError("a key of very many parts")
    if kind == "yaml" and (_depth(text) > MAX_BRACKETS or _COMPACT_NESTING.search(text)):
        raise ParseError("nested too deeply")


def _depth(text: str) -> int:
    depth = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth += 1 if bracket in "[{" else -1
        deepest = max(deepest, depth)
    return deepest


def read_json(text: str) -> Any:
    """JSON as its standard has it: no NaN, no Infinity, no number too large for a float, no duplicate key."""
    return json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ParseError("a key is given twice")
    return value


def _no_constant(name: str) -> Any:
    raise ParseError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ParseError("a number beyond every float")
    return value


# YAML ---------------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)
def _yaml_loader() -> Any:
    """PyYAML's safe loader that refuses merge keys and duplicate keys. Made on first use."""
    import yaml

    base = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

    class Loader(base):  # type: ignore[misc, valid-type]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len({key.value for key in keys}) != len(node.value):
                raise ParseError("a key is given twice, or is no text")
            if any(key.tag == "tag:yaml.org,2002:merge" for key in keys):
                raise ParseError("merge keys are not part of the answer")
            return super().construct_mapping(node, deep)

    return Loader


def count_aliases(text: str) -> int:
    """How often a YAML text says `*name`: each one may multiply what it stands for."""
    import yaml

    if "*" not in text:
        return 0
    events = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return sum(isinstance(event, yaml.AliasEvent) for event in events)


def _read_yaml(text: str) -> Any:
    import yaml

    try:
        if count_aliases(text):
            raise ParseError("aliases are not part of the answer")
        return yaml.load(text, Loader=_yaml_loader())
    except yaml.YAMLError as error:
        raise ParseError(f"{type(error).__name__}: {str(error)[:160]}") from None


# XML ----------------------------------------------------------------------------------------------------------------


def _read_xml(text: str, schema: Any) -> Any:
    from xml.parsers.expat import ExpatError

    import xmltodict

    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise ParseError("a document type is not part of the answer")
    try:
        document = xmltodict.parse(text)
    except ExpatError as error:
        raise ParseError(f"ExpatError: {error}") from None
    properties = schema.get("properties") if isinstance(schema, dict) else None
    (tag,) = document
    if isinstance(properties, dict) and tag not in properties:
        document = document[tag]
    return _from_xml(document, schema, schema)


def _from_xml(value: Any, schema: Any, root: Any) -> Any:
    """Give xmltodict's texts the types of the schema. What does not fit stays as it is, for the validator to refuse."""
    node = _described(schema, root)
    types = _types(node)
    if isinstance(value, dict) and "object" in types:
        properties = node.get("properties") or {}
        return {key: _from_xml(inner, properties.get(key), root) for key, inner in value.items()}
    if "array" in types:
        return [
            _from_xml(item, node.get("items"), root) for item in _xml_items(value, _described(node.get("items"), root))
        ]
    if value is None:
        return None if "null" in types else "" if "string" in types else None
    return scalar(value, types) if isinstance(value, str) else value


def _xml_items(value: Any, items: dict[str, Any]) -> list[Any]:
    """Repeated tags are a list already; one wrapping tag (`<tags><tag/>…</tags>`) is taken off."""
    if isinstance(value, dict) and len(value) == 1:
        (tag,) = value
        if tag not in (items.get("properties") or {}):
            value = value[tag]
    if isinstance(value, list):
        return value
    return [] if value is None else [value]


# CSV ----------------------------------------------------------------------------------------------------------------


def _read_csv(text: str, schema: Any) -> Any:
    """A list of rows; where the schema's root is an object, its one row. Cells of nested columns are JSON."""
    rows = [row for row in csv.reader(io.StringIO(text), strict=True) if row]
    if len(rows) < 2:
        raise ParseError("no data row")
    header = rows[0]
    if len(set(header)) != len(header):
        raise ParseError("a column is given twice")
    if any(len(row) != len(header) for row in rows):
        raise ParseError("a row has more or fewer cells than the header")
    root = _described(schema, schema)
    listed = "array" in _types(root)
    columns = _described(root.get("items"), schema) if listed else root
    properties = columns.get("properties") or {}
    values = [
        {name: _cell(cell, _described(properties.get(name), schema)) for name, cell in zip(header, row, strict=True)}
        for row in rows[1:]
    ]
    if listed:
        return values
    if len(values) != 1:
        raise ParseError("the schema describes one object: one data row is wanted")
    return values[0]


def _cell(text: str, node: dict[str, Any]) -> Any:
    types = _types(node)
    if text == "" and "null" in types:
        return None
    if {"object", "array"} & set(types) and text.lstrip()[:1] in ("[", "{"):
        return read_json(text)
    return scalar(text, types)


# Types --------------------------------------------------------------------------------------------------------------


def scalar(text: str, types: tuple[str, ...]) -> Any:
    """A text as the first of these types that can read it, else the text itself."""
    for name in types:
        if name == "string":
            return text
        if name == "integer" and _INTEGER.fullmatch(text):
            return int(text)
        if name == "number" and _NUMBER.fullmatch(text):
            return int(text) if _INTEGER.fullmatch(text) else _finite(text)
        if name == "boolean" and text in ("true", "false", "1", "0"):
            return text in ("true", "1")
    return text


def _described(schema: Any, root: Any) -> dict[str, Any]:
    """The schema that says the types: local references followed, a nullable `anyOf` opened."""
    for _ in range(8):
        if not isinstance(schema, dict):
            return {}
        if "$ref" in schema:
            schema = resolve(schema["$ref"], root)
            continue
        branches = schema.get("anyOf") or schema.get("oneOf")
        if "type" in schema or not isinstance(branches, list):
            return schema
        real = [branch for branch in branches if branch != {"type": "null"}]
        if len(real) != 1 or len(real) == len(branches):
            return schema
        inner = _described(real[0], root)
        return {**inner, "type": [*_types(inner), "null"]}
    return {}


def _types(node: dict[str, Any]) -> tuple[str, ...]:
    given = node.get("type", ())
    return (given,) if isinstance(given, str) else tuple(name for name in given if isinstance(name, str))
