"""Two gradings of one reply: does the answer fit the schema?

strict:     text ─▶ no fence ─▶ one document, no key twice, no NaN ─▶ strict schema, formats checked ─▶ 1.0 | 0.0
published:  all texts ─▶ lenient reading ─▶ schema made strict through dictionaries ─▶ 1.0 | 0.0
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from typing import Any

import jsonschema_rs

from environments.structured_outputs import published, reading
from environments.structured_outputs.reading import ParseError
from environments.structured_outputs.strictness import strictify, strictify_published
from environments.structured_outputs.validation import BadSchema, Unreadable, accepts, compile_schema, complaint
from gym_core.environment import Reply

MAX_SCHEMA_LENGTH = 200_000


@dataclass(slots=True, frozen=True)
class Wanted:
    """What a row asks for."""

    schema_str: str
    kind: str = "json"
    mode: str = "text"
    tool_name: str | None = None
    payload_key: str | None = None


@dataclass(slots=True, frozen=True)
class Graded:
    """Reward, the kind of error (empty when there is none), its words, and the value that was read."""

    reward: float
    error: str = ""
    message: str = ""
    value: Any = None


@functools.lru_cache(maxsize=256)
def strict_schema(schema_str: str) -> tuple[Any, jsonschema_rs.Draft202012Validator]:
    """The strict schema and its validator. Raises `BadSchema`."""
    schema = _parsed(schema_str)
    if not isinstance(schema, dict):
        raise BadSchema("a schema must be a JSON object")
    try:
        strict = strictify(schema)
    except RecursionError:
        raise BadSchema("nested too deeply") from None
    return strict, compile_schema(strict, formats=True)


@functools.lru_cache(maxsize=256)
def published_schema(schema_str: str) -> tuple[Any, jsonschema_rs.Draft202012Validator | None]:
    """The schema as the public verifier makes it; no validator where its result is not a schema any more."""
    schema = _parsed(schema_str)
    try:
        strictify_published(schema)
        dialect_free = {key: value for key, value in schema.items() if key != "$schema"}
        return schema, compile_schema(dialect_free, formats=False)
    except (BadSchema, AttributeError, TypeError, RecursionError):
        return schema, None


def _parsed(schema_str: str) -> Any:
    if len(schema_str) > MAX_SCHEMA_LENGTH:
        raise BadSchema(f"longer than {MAX_SCHEMA_LENGTH} characters")
    try:
        return json.loads(schema_str)
    except (ValueError, RecursionError) as error:
        raise BadSchema(f"not JSON: {error}") from None


def grade_strict(wanted: Wanted, reply: Reply) -> Graded:
    """Our reward. Never raises for any reply."""
    schema, validator = strict_schema(wanted.schema_str)
    try:
        value = _strict_value(wanted, reply, schema)
        if value is None or (isinstance(value, str | list | dict) and not value):
            return Graded(0.0, "empty_answer", "nothing is said")
        message = complaint(validator, value)
    except _Empty:
        return Graded(0.0, "empty_response", "no answer")
    except ParseError as error:
        return Graded(0.0, "parse_error", str(error))
    except Unreadable as error:
        return Graded(0.0, "validation_error", str(error))
    return Graded(0.0, "validation_error", message, value) if message else Graded(1.0, value=value)


class _Empty(Exception):
    """The reply has no text."""


def _strict_value(wanted: Wanted, reply: Reply, schema: Any) -> Any:
    if wanted.mode == "tool_call":
        return _strict_payload(wanted, reply)
    if reply.empty:
        raise _Empty
    return reading.read(wanted.kind, reply.text, schema)


def _strict_payload(wanted: Wanted, reply: Reply) -> Any:
    """One call of the right tool, strict JSON, and nothing beside the payload (filling every key is no choice)."""
    if len(reply.tool_calls) != 1:
        raise ParseError("exactly one tool call is wanted")
    call = reply.tool_calls[0]
    if wanted.tool_name and call.name != wanted.tool_name:
        raise ParseError(f"the call must be of {wanted.tool_name}")
    arguments = reading.read("json", call.arguments, None)
    if not wanted.payload_key:
        return arguments
    if not isinstance(arguments, dict) or list(arguments) != [wanted.payload_key]:
        raise ParseError(f"the arguments must hold {wanted.payload_key!r} and nothing else")
    return arguments[wanted.payload_key]


def grade_published(wanted: Wanted, reply: Reply) -> Graded:
    """The public verifier's reward. Never raises for any reply."""
    schema, validator = published_schema(wanted.schema_str)
    try:
        if wanted.mode == "tool_call":
            value = published.tool_payload(reply.tool_calls, wanted.tool_name, wanted.payload_key)
        elif not reply.raw_text.strip():
            return Graded(0.0, "empty_response")
        else:
            value = published.read(wanted.kind, reply.raw_text, schema)
        if validator is None:
            return Graded(0.0, "validation_error", "the schema is no schema once it is made strict")
        fits = accepts(validator, value)
    except ParseError as error:
        return Graded(0.0, "parse_error", str(error))
    except Unreadable as error:
        return Graded(0.0, "validation_error", str(error))
    return Graded(1.0, value=value) if fits else Graded(0.0, "validation_error")


def semantic(truth: Any, value: Any) -> float:
    """Share of the facts of `truth` that `value` states at the same place, in 0..1. Logged, never rewarded."""
    wanted = dict(_leaves(truth, ()))
    given = dict(_leaves(value, ()))
    missing = object()
    right = sum(1 for path, fact in wanted.items() if _same(fact, given.get(path, missing)))
    return right / len(wanted) if wanted else 1.0


def _same(fact: Any, given: Any) -> bool:
    return isinstance(fact, bool) == isinstance(given, bool) and fact == given


def _leaves(value: Any, path: tuple[Any, ...]) -> list[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in _leaves(inner, (*path, key))]
    if isinstance(value, list) and value:
        return [leaf for index, inner in enumerate(value) for leaf in _leaves(inner, (*path, index))]
    return [(path, value)] if not isinstance(value, dict | list) else [(path, repr(value))]
