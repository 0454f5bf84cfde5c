"""Generated tasks of six levels: fields × depth × kinds of constraint × formats, each with its own answer.

0  two fields, JSON, the schema is the whole prompt          3  nested, bounds, patterns, dates; + TOML, XML
1  three to five fields, JSON                                4  lists of records, nullable unions; + CSV
2  four to six fields and lists, a document; JSON, YAML      5  deep, $defs, anyOf, const, distractor document
"""

from __future__ import annotations

import random
from typing import Any

from environments.structured_outputs.sampler import COUNTS, FLAGS, LABELS, Made, Style, record, scalar
from environments.structured_outputs.writing import compact, write

# fmt: off
KEYS = (
    "age", "city", "name", "size", "open", "rank", "year", "team", "color", "paid", "page", "room", "code", "date",
    "user", "cost", "item", "kind", "note", "seat", "town", "done", "food", "game", "bird", "tree", "song", "shop",
    "road", "lamp",
)
# fmt: on
FEW_KEYS = 20
"""Level 0 knows so many keys."""

FIXED: dict[str, Any] = {"integer": 3, "string": "Oslo", "boolean": True}
"""What the oracle of level 0 says for each type."""

FORMATS: dict[int, tuple[str, ...]] = {
    1: ("json",),
    2: ("json", "yaml"),
    3: ("json", "yaml", "toml", "xml"),
    4: ("json", "yaml", "toml", "xml", "csv"),
    5: ("json", "yaml"),
}
STYLES = {
    1: Style(),
    2: Style(),
    3: Style(constraints=True, depth=2),
    4: Style(constraints=True, nullable=True, depth=2),
    5: Style(constraints=True, nullable=True, choices=True, depth=3),
}
FIELDS = {1: (3, 5), 2: (4, 6), 3: (4, 7), 4: (5, 8), 5: (7, 10)}

ORDERS = (
    "Answer with {kind} only, no code fence, that fits this JSON Schema: {schema}",
    "Give the result as {kind}. It must fit this JSON Schema, with every property present and no other: {schema}",
    "JSON Schema:\n{schema}\nWrite one {kind} document that fits it, and nothing else.",
)


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """One task: `schema_str` and `schema_type` travel with the row; `sample` (an answer) and `truth` stay hidden."""
    if level == 0:
        return _smallest(rng)
    kind = rng.choice(FORMATS[level])
    schema, value = _made(rng, level, kind)
    text = compact(schema)
    order = rng.choice(ORDERS).format(kind=kind.upper(), schema=text)
    made = _row(text, kind, write(kind, value))
    if level == 1:
        return {**made, "prompt": order}
    made["truth"] = value
    document = "Document:\n" + " ".join(_facts(rng, value, level))
    if level >= 4 and rng.random() < 0.5:
        return {**made, "system": order, "prompt": document}
    parts = [document, order] if rng.random() < 0.5 else [order, document]
    return {**made, "prompt": "\n\n".join(parts)}


def _row(schema_str: str, kind: str, sample: str) -> dict[str, Any]:
    return {"public": {"schema_str": schema_str, "schema_type": kind}, "sample": sample}


def _smallest(rng: random.Random) -> dict[str, Any]:
    kinds = {key: rng.choice(tuple(FIXED)) for key in rng.sample(KEYS[:FEW_KEYS], 2)}
    text = compact({"type": "object", "properties": {key: {"type": kind} for key, kind in kinds.items()}})
    sample = compact({key: FIXED[kind] for key, kind in kinds.items()})
    return {**_row(text, "json", sample), "prompt": f"JSON: {text}"}


def _made(rng: random.Random, level: int, kind: str) -> Made:
    style = STYLES[level]
    num_fields = rng.randint(*FIELDS[level])
    if kind == "csv":
        return _table(rng, num_fields)
    if kind in ("toml", "xml"):
        style = Style(constraints=style.constraints, depth=style.depth)
    schema, value = record(rng, num_fields, style)
    if kind == "xml":
        return {"type": "object", "properties": {"record": schema}}, {"record": value}
    return _shared(rng, schema, value) if level == 5 else (schema, value)


def _table(rng: random.Random, num_columns: int) -> Made:
    """Rows of scalars, some columns nullable."""
    style = Style(nullable=True)
    properties: dict[str, Any] = {}
    while len(properties) < num_columns:
        key, (schema, _) = scalar(rng, style)
        properties[key] = schema
    rows = [{key: _value(rng, schema) for key, schema in properties.items()} for _ in range(rng.randint(2, 4))]
    return {"type": "array", "items": {"type": "object", "properties": properties}, "minItems": 1}, rows


def _value(rng: random.Random, schema: dict[str, Any]) -> Any:
    kind = schema["type"]
    if isinstance(kind, list):
        if rng.random() < 0.3:
            return None
        kind = kind[0]
    words = ("Oslo", "Lima", "Riga", "Bruno", "Greta", "amber", "olive")
    return {"string": rng.choice(words), "integer": rng.randint(1, 99), "number": rng.randint(1, 99) / 2}.get(
        kind, rng.random() < 0.5
    )


def _shared(rng: random.Random, schema: dict[str, Any], value: dict[str, Any]) -> Made:
    """Two properties of one definition, one of them nullable: what only a walk through lists makes strict."""
    number, label = rng.choice(COUNTS), rng.choice(LABELS)
    part = {"type": "object", "properties": {number: {"type": "integer"}, label: {"type": "string"}}}
    reference = {"$ref": "#/$defs/part"}
    schema["properties"] |= {"first": reference, "second": {"anyOf": [reference, {"type": "null"}]}}
    schema["$defs"] = {"part": part}
    first, second = ({number: rng.randint(1, 99), label: rng.choice(("Riga", "Turin", "Quito"))} for _ in range(2))
    return schema, value | {"first": first, "second": second if rng.random() < 0.7 else None}


def _facts(rng: random.Random, value: Any, level: int) -> list[str]:
    """The value in sentences; at level 5 with sentences that belong to nothing between them."""
    sentences = list(_sentences(value, ()))
    if level == 5:
        for _ in range(3):
            noise = f"A neighbour's {rng.choice(LABELS + FLAGS)} was never recorded."
            sentences.insert(rng.randint(0, len(sentences)), noise)
    return sentences


def _sentences(value: Any, path: tuple[str, ...]) -> list[str]:
    if isinstance(value, dict):
        return [line for key, inner in value.items() for line in _sentences(inner, (*path, key))]
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return [
            line for number, item in enumerate(value, start=1) for line in _sentences(item, (*path, f"number {number}"))
        ]
    subject = " ".join(path)
    if isinstance(value, list):
        return [f"The {subject} are {', '.join(str(item) for item in value)}."]
    if value is None:
        return [f"The {subject} is unknown."]
    if isinstance(value, bool):
        return [f"The {subject} is {'true' if value else 'false'}."]
    return [f"The {subject} is {value}."]
