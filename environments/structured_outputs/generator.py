"""Generated tasks of six levels: fields × depth × kinds of constraint × formats × problem types, each with an answer.

0  two fields, JSON, the schema is the whole prompt        3  nested, bounds, patterns, dates; all formats; correction
1  three to five fields; JSON, YAML                        4  nullable unions, several turns, wording varies
2  + TOML, translation, tool calls                         5  deep, $defs, anyOf, const, noise, many distractors
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from environments.structured_outputs.problems import PROBLEMS, Subject, tool_call
from environments.structured_outputs.sampler import COUNTS, LABELS, Made, Style, record, scalar
from environments.structured_outputs.writing import compact

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

ALL = ("json", "yaml", "toml", "xml", "csv")
ONE_TURN = ("schema_only", "direct")


@dataclass(slots=True, frozen=True)
class Level:
    """What a level draws from: formats of the answer, problem types, number of fields, and how the prose reads."""

    formats: tuple[str, ...]
    problems: tuple[str, ...]
    style: Style
    fields: tuple[int, int]
    varied: bool = False
    num_noise: int = 0
    num_distractors: tuple[int, int] = (0, 0)


LEVELS = {
    1: Level(("json", "yaml"), ONE_TURN, Style(), (3, 5)),
    2: Level(("json", "yaml", "toml"), (*ONE_TURN, "translation", "tool_call"), Style(), (4, 6)),
    3: Level(
        ALL,
        ("direct", "translation", "error_correction", "multistep_related", "tool_call"),
        Style(constraints=True, depth=2),
        (4, 7),
        num_distractors=(0, 2),
    ),
    4: Level(
        ALL,
        (*PROBLEMS, "tool_call"),
        Style(constraints=True, nullable=True, depth=2),
        (5, 8),
        varied=True,
        num_noise=1,
        num_distractors=(1, 4),
    ),
    5: Level(
        ALL,
        (*PROBLEMS, "tool_call"),
        Style(constraints=True, nullable=True, choices=True, depth=3),
        (7, 10),
        varied=True,
        num_noise=3,
        num_distractors=(3, 8),
    ),
}


def make(rng: random.Random, level: int) -> dict[str, Any]:
    """One task: what the row asks for travels with it; `sample` (an answer) and `truth` stay hidden."""
    if level == 0:
        return _smallest(rng)
    about = LEVELS[level]
    problem = rng.choice(about.problems)
    kind = "json" if problem == "tool_call" else rng.choice(about.formats)
    subject = _subject(rng, about, level, kind, bare=problem in ("translation", "multistep_related"))
    public: dict[str, Any] = {"schema_str": compact(subject.schema), "schema_type": kind}
    if problem == "tool_call":
        asked, tools, sample = tool_call(rng, subject, rng.randint(*about.num_distractors))
        public |= {"problem_type": "direct_tool_call", "schema_repr": "tool"} | asked.fields
        made = {"prompt": asked.items, "tools": tools, "sample": sample, "truth": subject.value}
    else:
        asked = PROBLEMS[problem](rng, subject)
        public |= {"problem_type": problem, "schema_repr": subject.schema_repr, "num_turns": 1} | asked.fields
        made = {"prompt": asked.items, "sample": subject.sample, "truth": subject.value}
    if problem == "schema_only":
        del made["truth"]
    return {**made, "public": public}


def _subject(rng: random.Random, about: Level, level: int, kind: str, *, bare: bool) -> Subject:
    """`bare`: a value that another format can say too, so nothing is null."""
    style = about.style
    if bare or kind in ("toml", "xml"):
        style = replace(style, nullable=False)
    if kind == "xml":  # the public verifier types texts by a plain `type` only
        style = replace(style, choices=False)

    def one() -> Made:
        if kind == "csv":
            return _table(rng, rng.randint(*about.fields), nullable=level > 3)
        schema, value = record(rng, rng.randint(*about.fields), style)
        if style.choices and rng.random() < 0.7:
            schema, value = _shared(rng, schema, value, nullable=style.nullable)
        return (_rooted(schema), {"record": value}) if kind == "xml" else (schema, value)

    schema, value = one()
    shapes = ("json", "json", "yaml") if level > 2 else ("json",)
    return Subject(schema, value, kind, about.varied, about.num_noise, rng.choice(shapes), level > 3, one)


def _rooted(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of XML's one root tag; definitions stay at the root, where references look for them."""
    inner = {word: part for word, part in schema.items() if word != "$defs"}
    rooted: dict[str, Any] = {"type": "object", "properties": {"record": inner}}
    return rooted | ({"$defs": schema["$defs"]} if "$defs" in schema else {})


def _smallest(rng: random.Random) -> dict[str, Any]:
    kinds = {key: rng.choice(tuple(FIXED)) for key in rng.sample(KEYS[:FEW_KEYS], 2)}
    text = compact({"type": "object", "properties": {key: {"type": kind} for key, kind in kinds.items()}})
    sample = compact({key: FIXED[kind] for key, kind in kinds.items()})
    return {"public": {"schema_str": text, "schema_type": "json"}, "sample": sample, "prompt": f"JSON: {text}"}


def _table(rng: random.Random, num_columns: int, *, nullable: bool) -> Made:
    """Rows of scalars, some columns perhaps nullable."""
    style = Style(nullable=nullable)
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


def _shared(rng: random.Random, schema: dict[str, Any], value: dict[str, Any], *, nullable: bool) -> Made:
    """Two properties of one definition, one of them perhaps nullable: what only a walk through lists makes strict."""
    number, label = rng.choice(COUNTS), rng.choice(LABELS)
    part = {"type": "object", "properties": {number: {"type": "integer"}, label: {"type": "string"}}}
    reference = {"$ref": "#/$defs/part"}
    second_schema: dict[str, Any] = {"anyOf": [reference, {"type": "null"}]} if nullable else reference
    schema["properties"] |= {"first": reference, "second": second_schema}
    schema["$defs"] = {"part": part}
    first, second = ({number: rng.randint(1, 99), label: rng.choice(("Riga", "Turin", "Quito"))} for _ in range(2))
    return schema, value | {"first": first, "second": second if not nullable or rng.random() < 0.7 else None}
