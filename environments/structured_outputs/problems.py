"""The six published problem types: how a schema, a document and an instruction become a prompt.

schema_only          the schema alone: any document that fits          (no truth)
direct               prose ─▶ document
translation          a document of another format ─▶ document
multistep_related    prose ─▶ document of another format ─▶ the same in this one
multistep_unrelated  other records first, each answered ─▶ prose ─▶ document
error_correction     prose and a document that does not fit ─▶ document that does
"""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from environments.structured_outputs.documents import document
from environments.structured_outputs.grading import Wanted, grade_strict
from environments.structured_outputs.reading import FORMATS
from environments.structured_outputs.sampler import LABELS, Made
from environments.structured_outputs.writing import compact, write
from gym_core.reply import read_reply, text_output

Items = list[dict[str, Any]]

ORDERS = (
    "Answer with {kind} only, no code fence, that fits this JSON Schema: {schema}",
    "Give the result as {kind}. It must fit this JSON Schema, with every property present and no other: {schema}",
    "JSON Schema:\n{schema}\nWrite one {kind} document that fits it, and nothing else.",
    "Extract the data as {kind}, conforming to this schema. No markdown fencing.\n{schema}",
)
CONVERSIONS = (
    "Now convert your response to {kind}. Keep the same data but change the output format.",
    "Now give the same data as {kind}, nothing else. It must fit: {schema}",
)


@dataclass(slots=True, frozen=True)
class Subject:
    """What a problem is about: a schema and a value that fits it, to be written as `kind`.

    `varied` and `num_noise` shape its prose, `schema_repr` is the format the schema is shown in, `system` says that
    the instruction may stand in a system message. `other` makes a further subject of the same kind of task.
    """

    schema: dict[str, Any]
    value: Any
    kind: str
    varied: bool = False
    num_noise: int = 0
    schema_repr: str = "json"
    system: bool = False
    other: Callable[[], Made] | None = None

    @property
    def sample(self) -> str:
        return write(self.kind, self.value)

    def told(self, rng: random.Random) -> str:
        return document(rng, self.value, varied=self.varied, num_noise=self.num_noise)

    def order(self, rng: random.Random) -> str:
        return rng.choice(ORDERS).format(kind=self.kind.upper(), schema=shown(self.schema, self.schema_repr))


@dataclass(slots=True, frozen=True)
class Problem:
    """The input items, and what is public of them beside the schema."""

    items: Items
    fields: dict[str, Any]


def shown(schema: dict[str, Any], schema_repr: str) -> str:
    """A schema as text for the prompt."""
    return compact(schema) if schema_repr == "json" else write(schema_repr, schema)


def can_say(kind: str, value: Any) -> bool:
    """True where this format can state the value and read it back with its types."""
    if kind == "csv":
        return isinstance(value, list)
    if kind == "xml":
        return isinstance(value, dict) and len(value) == 1 and not _has_null(value)
    return kind in ("json", "yaml") or (isinstance(value, dict) and not _has_null(value))


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_null(inner) for inner in value.values())
    return any(_has_null(inner) for inner in value) if isinstance(value, list) else value is None


def _user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def _assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def _asked(rng: random.Random, subject: Subject, material: str) -> Items:
    """Material and instruction in one message, in either order, or apart."""
    order = subject.order(rng)
    if subject.system and rng.random() < 0.4:
        return [{"role": "system", "content": order}, _user(material)]
    parts = [material, order] if rng.random() < 0.5 else [order, material]
    return [_user("\n\n".join(parts))]


def schema_only(rng: random.Random, subject: Subject) -> Problem:
    return Problem([_user(subject.order(rng))], {})


def direct(rng: random.Random, subject: Subject) -> Problem:
    return Problem(_asked(rng, subject, f"Document:\n{subject.told(rng)}"), {})


def translation(rng: random.Random, subject: Subject) -> Problem:
    source = _another(rng, subject)
    material = f"Here is data in {source.upper()}:\n\n{write(source, subject.value)}"
    return Problem(_asked(rng, subject, material), {"source_format": source})


def multistep_related(rng: random.Random, subject: Subject) -> Problem:
    source = _another(rng, subject)
    first = Subject(subject.schema, subject.value, source, subject.varied, subject.num_noise, subject.schema_repr)
    turns = [*direct(rng, first).items, _assistant(write(source, subject.value))]
    ask = rng.choice(CONVERSIONS).format(kind=subject.kind.upper(), schema=shown(subject.schema, subject.schema_repr))
    return Problem([*turns, _user(ask)], {"source_format": source, "num_turns": 2})


def multistep_unrelated(rng: random.Random, subject: Subject) -> Problem:
    assert subject.other is not None
    num_before = rng.randint(1, 3 if subject.num_noise > 1 else 1)
    items: Items = []
    for _ in range(num_before):
        schema, value = subject.other()
        kind = rng.choice([kind for kind in FORMATS if can_say(kind, value)])
        before = Subject(schema, value, kind, subject.varied)
        items += [_user("\n\n".join([f"Document:\n{before.told(rng)}", before.order(rng)])), _assistant(before.sample)]
    last = Subject(subject.schema, subject.value, subject.kind, subject.varied, subject.num_noise, subject.schema_repr)
    return Problem([*items, *direct(rng, last).items], {"num_turns": num_before + 1})


def error_correction(rng: random.Random, subject: Subject) -> Problem:
    wanted = Wanted(compact(subject.schema), subject.kind)
    slips = [_drop, _add, _mistype, _fence, _cut]
    rng.shuffle(slips)
    for slip in slips:
        broken = slip(rng, subject)
        graded = grade_strict(wanted, read_reply(text_output(broken)))
        if graded.reward == 0.0:
            break
    else:
        raise AssertionError("every slip left a document that fits")
    material = f"Document:\n{subject.told(rng)}\n\nThis answer does not fit ({graded.error}):\n{broken}\nCorrect it."
    return Problem(_asked(rng, subject, material), {"error_type": graded.error})


def _another(rng: random.Random, subject: Subject) -> str:
    """A format to come from; never JSON for YAML, which would take it as it is."""
    taken = ("json", "yaml") if subject.kind == "yaml" else (subject.kind,)
    return rng.choice([kind for kind in FORMATS if kind not in taken and can_say(kind, subject.value)])


# Slips --------------------------------------------------------------------------------------------------------------


def _record(value: Any) -> dict[str, Any]:
    """The object of a value whose keys can be changed: itself, the first of a list, or what XML's root holds."""
    inner = value[0] if isinstance(value, list) else value
    assert isinstance(inner, dict)
    only = next(iter(inner.values()))
    return only if len(inner) == 1 and isinstance(only, dict) else inner


def _changed(subject: Subject, change: Callable[[dict[str, Any]], None]) -> str:
    value = copy.deepcopy(subject.value)
    change(_record(value))
    if isinstance(value, list):  # a table keeps its columns alike
        value = value[:1]
    return write(subject.kind, value)


def _drop(rng: random.Random, subject: Subject) -> str:
    def change(record: dict[str, Any]) -> None:
        del record[rng.choice(list(record))]

    return _changed(subject, change)


def _add(rng: random.Random, subject: Subject) -> str:
    def change(record: dict[str, Any]) -> None:
        record[f"extra_{rng.choice(LABELS)}"] = "none"

    return _changed(subject, change)


def _mistype(rng: random.Random, subject: Subject) -> str:
    def change(record: dict[str, Any]) -> None:
        numbers = [key for key, value in record.items() if isinstance(value, int | float)]
        record[rng.choice(numbers or list(record))] = "not sure"

    return _changed(subject, change)


def _fence(rng: random.Random, subject: Subject) -> str:
    return f"```{subject.kind}\n{subject.sample}\n```"


def _cut(rng: random.Random, subject: Subject) -> str:
    text = subject.sample.rstrip()
    return text[: -rng.randint(1, max(1, len(text) // 8))]


PROBLEMS: dict[str, Callable[[random.Random, Subject], Problem]] = {
    problem.__name__: problem
    for problem in (schema_only, direct, translation, multistep_related, multistep_unrelated, error_correction)
}

# Tool calls ---------------------------------------------------------------------------------------------------------

WRAPPERS = ("extraction", "result", "data", "summary", "extracted_info")
ABOUT = (
    "Return a structured summary for the source text.",
    "Record the structured answer for this document.",
    "Capture the document information in a typed payload.",
)


def tool_call(rng: random.Random, subject: Subject, num_distractors: int) -> tuple[Problem, list[dict[str, Any]], str]:
    """A problem whose answer is one call: its prompt, the declared tools, and the arguments of the right call."""
    assert subject.other is not None
    key = rng.choice((None, "extraction", rng.choice(WRAPPERS)))
    style = rng.choice(("response_tool", "summary_tool", "record_tool"))
    place = rng.randint(0, num_distractors)
    schemas = [subject.other()[0] for _ in range(num_distractors)]
    schemas.insert(place, subject.schema)
    tools = [_declared(f"{style}_{number}", schema, key, rng) for number, schema in enumerate(schemas, start=1)]
    name = tools[place]["name"]
    ask = f"Use the matching tool to return the document information: {name} has the fields that it needs."
    if num_distractors == 0:
        ask = "Read the document and use the provided function to submit the structured information."
    parts = [f"Document:\n{subject.told(rng)}", ask]
    rng.shuffle(parts)
    fields = {
        "response_mode": "tool_call",
        "tool_name": name,
        "tool_payload_key": key,
        "tool_schema_mode": "direct"
        if key is None
        else "extraction_wrapper"
        if key == "extraction"
        else "random_wrapper",
        "num_tools": len(tools),
        "num_distractors": num_distractors,
    }
    arguments = subject.value if key is None else {key: subject.value}
    return Problem([_user("\n\n".join(parts))], fields), tools, json.dumps(arguments, ensure_ascii=False)


def _declared(name: str, schema: dict[str, Any], key: str | None, rng: random.Random) -> dict[str, Any]:
    parameters: dict[str, Any] = schema
    if key is not None:
        inner = {word: part for word, part in schema.items() if word != "$defs"}
        parameters = {"type": "object", "properties": {key: inner}, "required": [key]}
        if "$defs" in schema:
            parameters["$defs"] = schema["$defs"]
    return {
        "type": "function",
        "name": name,
        "description": rng.choice(ABOUT),
        "parameters": parameters,
        "strict": False,
    }
