"""Schemas with a value that fits them, grown together: what was sampled proves that the schema can be satisfied."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

Made = tuple[dict[str, Any], Any]
"""A schema and a value that fits it."""

# fmt: off
LABELS = (
    "title", "name", "city", "country", "owner", "color", "brand", "street", "author", "genre", "team", "label",
    "language", "sponsor", "material", "region", "harbor", "mentor", "venue", "dialect",
)
COUNTS = (
    "age", "year", "floor", "rank", "score", "size", "seats", "pages", "rooms", "speed", "depth", "stock", "wins",
    "visits", "points", "levels",
)
FLAGS = ("active", "open", "public", "paid", "new", "rare", "sold", "ready", "remote", "verified")
PARTS = ("address", "origin", "contact", "engine", "budget", "history", "location", "profile", "summary", "warranty")
LISTS = ("tags", "members", "events", "awards", "stops", "parts", "routes", "reviews", "orders", "sessions")
WORDS = (
    "Oslo", "Lima", "Cairo", "Quito", "Riga", "Hanoi", "Turin", "Porto", "Amara", "Bruno", "Chen", "Dalia", "Elif",
    "Farid", "Greta", "Hugo", "amber", "cobalt", "ivory", "olive", "jazz", "opera", "poetry", "cedar", "linen", "steel",
)
# fmt: on


@dataclass(slots=True, frozen=True)
class Style:
    """What a level may use: `constraints`, `nullable` unions, `choices` (anyOf, const), `depth` of nesting."""

    constraints: bool = False
    nullable: bool = False
    choices: bool = False
    depth: int = 1


def record(rng: random.Random, num_fields: int, style: Style) -> Made:
    """An object of that many properties."""
    properties: dict[str, Any] = {}
    value: dict[str, Any] = {}
    while len(properties) < num_fields:
        key, (schema, inner) = _field(rng, style)
        if key not in properties:
            properties[key], value[key] = schema, inner
    return {"type": "object", "properties": properties}, value


def _field(rng: random.Random, style: Style) -> tuple[str, Made]:
    draw = rng.random()
    if style.depth > 1 and draw < 0.25:
        inner = Style(style.constraints, style.nullable, style.choices, style.depth - 1)
        if draw < 0.15:
            return rng.choice(PARTS), record(rng, rng.randint(2, 3), inner)
        return rng.choice(LISTS), array(rng, record(rng, 2, Style(style.constraints, style.nullable)), style)
    if draw < 0.35:
        return rng.choice(LISTS), array(rng, label(rng, Style()), style)
    return scalar(rng, style)


def scalar(rng: random.Random, style: Style) -> tuple[str, Made]:
    """A named text, number or flag."""
    draw = rng.random()
    if draw < 0.4:
        return rng.choice(LABELS), _maybe_null(rng, label(rng, style), style)
    if draw < 0.75:
        return rng.choice(COUNTS), _maybe_null(rng, count(rng, style), style)
    if draw < 0.85 and style.constraints:
        return rng.choice(("born", "opened", "updated", "due")), date(rng)
    return rng.choice(FLAGS), ({"type": "boolean"}, rng.random() < 0.5)


def label(rng: random.Random, style: Style) -> Made:
    """A text; constrained, it is an enum, a pattern, a length or, among choices, a constant."""
    word = rng.choice(WORDS)
    if not style.constraints:
        return {"type": "string"}, word
    draw = rng.random()
    if draw < 0.3:
        others = rng.sample(WORDS, 3)
        return {"type": "string", "enum": sorted({word, *others})}, word
    if draw < 0.5:
        code = f"{rng.choice('ABCDEF')}{rng.choice('GHKMPR')}-{rng.randint(100, 999)}"
        return {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}, code
    if draw < 0.6 and style.choices:
        return {"const": word}, word
    return {"type": "string", "minLength": rng.randint(1, 3), "maxLength": rng.randint(8, 20)}, word


def count(rng: random.Random, style: Style) -> Made:
    """A number; constrained, it has bounds or steps or, among choices, an alternative type."""
    whole = rng.randint(1, 500)
    if not style.constraints:
        if rng.random() < 0.3:
            return {"type": "number"}, whole / 2
        return {"type": "integer"}, whole
    draw = rng.random()
    if draw < 0.3:
        step = rng.choice((2, 5, 10))
        return {"type": "integer", "multipleOf": step}, whole * step
    if draw < 0.5 and style.choices:
        lowest = whole - rng.randint(0, 20)
        return {"anyOf": [{"type": "integer", "minimum": lowest}, {"type": "string", "minLength": 40}]}, whole
    low, high = whole - rng.randint(0, 50), whole + rng.randint(0, 50)
    return {"type": "integer", "minimum": low, "maximum": high}, whole


def date(rng: random.Random) -> Made:
    """A calendar date, whose format strict grading checks."""
    value = f"{rng.randint(1950, 2030):04d}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    return {"type": "string", "format": "date"}, value


def array(rng: random.Random, made: Made, style: Style) -> Made:
    """A list of two or three values of one schema, all different."""
    schema, first = made
    values = [first]
    for _ in range(rng.randint(1, 2)):
        other = _another(rng, schema)
        if other not in values:
            values.append(other)
    wanted: dict[str, Any] = {"type": "array", "items": schema}
    if style.constraints:
        wanted |= {"minItems": rng.randint(1, len(values)), "maxItems": len(values) + rng.randint(0, 2)}
        if rng.random() < 0.5:
            wanted["uniqueItems"] = True
    return wanted, values


def _another(rng: random.Random, schema: dict[str, Any]) -> Any:
    """One more value of a schema this module made."""
    if "const" in schema or "enum" in schema:
        return schema.get("const") or rng.choice(schema["enum"])
    if "anyOf" in schema:
        return _another(rng, schema["anyOf"][0])
    kind = schema["type"]
    if isinstance(kind, list):
        return _another(rng, {**schema, "type": kind[0]})
    if kind == "object":
        return {key: _another(rng, inner) for key, inner in schema["properties"].items()}
    if kind == "array":
        return rng.sample(WORDS, schema.get("minItems", 1))  # inside a list of records, lists hold plain texts
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "string":
        return _another_text(rng, schema)
    low = schema.get("minimum", 1)
    return rng.randint(low, schema.get("maximum", low + 50)) * schema.get("multipleOf", 1)


def _another_text(rng: random.Random, schema: dict[str, Any]) -> str:
    if "pattern" in schema:
        return f"{rng.choice('ABCDEF')}{rng.choice('GHKMPR')}-{rng.randint(100, 999)}"
    if "format" in schema:
        return str(date(rng)[1])
    return rng.choice(WORDS)


def _maybe_null(rng: random.Random, made: Made, style: Style) -> Made:
    schema, value = made
    if not style.nullable or "enum" in schema or "type" not in schema or rng.random() < 0.6:
        return made
    return {**schema, "type": [schema["type"], "null"]}, None if rng.random() < 0.5 else value
