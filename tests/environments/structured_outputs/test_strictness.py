"""What a strict schema requires and forbids, wherever a schema may stand."""

import copy
import datetime

import pytest

from environments.structured_outputs.strictness import resolve, strictify, strictify_published
from environments.structured_outputs.validation import BadSchema, Unreadable, accepts, compile_schema, complaint

AB = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
FULL = {"a": 1, "b": "x"}


def fits(schema, value):
    return complaint(compile_schema(strictify(schema), formats=True), value) == ""


PLACES = {
    "property": (lambda s: {"type": "object", "properties": {"p": s}}, lambda v: {"p": v}),
    "items": (lambda s: {"type": "array", "items": s}, lambda v: [v]),
    "prefixItems": (lambda s: {"type": "array", "prefixItems": [s]}, lambda v: [v]),
    "anyOf": (lambda s: {"anyOf": [s, {"type": "null"}]}, lambda v: v),
    "oneOf": (lambda s: {"oneOf": [s, {"type": "null"}]}, lambda v: v),
    "allOf": (lambda s: {"allOf": [s, {"type": "object"}]}, lambda v: v),
    "ref": (
        lambda s: {"type": "object", "properties": {"p": {"$ref": "#/$defs/s"}}, "$defs": {"s": s}},
        lambda v: {"p": v},
    ),
    "definitions": (lambda s: {"$ref": "#/definitions/s", "definitions": {"s": s}}, lambda v: v),
    "additionalProperties": (lambda s: {"type": "object", "additionalProperties": s}, lambda v: {"any": v}),
    "then": (lambda s: {"if": {"type": "object"}, "then": s}, lambda v: v),
}


@pytest.mark.parametrize("place", PLACES)
def test_strict_in_every_place(place):
    schema, value = (build for build in PLACES[place])
    assert fits(schema(AB), value(FULL))
    assert not fits(schema(AB), value({"a": 1}))
    assert not fits(schema(AB), value({**FULL, "c": 0}))


def test_parts_of_one_object_are_closed_around_all_of_them():
    c = {"type": "object", "properties": {"c": {"type": "boolean"}}}
    for schema in (
        {"allOf": [AB, c]},
        {**AB, "allOf": [c]},
        {**AB, "anyOf": [c]},
        {**AB, "$ref": "#/$defs/c", "$defs": {"c": c}},
    ):
        assert fits(schema, {**FULL, "c": True})
        assert not fits(schema, FULL)
        assert not fits(schema, {**FULL, "c": True, "d": 0})


def test_alternatives_are_closed_one_by_one():
    a, b = ({"type": "object", "properties": {name: {"type": "integer"}}} for name in "ab")
    schema = {"anyOf": [a, b]}
    assert fits(schema, {"a": 1})
    assert not fits(schema, {"a": 1, "b": 1})


def test_recursion_and_free_maps_stay_possible():
    tree = {
        "type": "object",
        "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#"}}},
    }
    assert fits(tree, {"v": 1, "kids": [{"v": 2, "kids": []}]})
    assert not fits(tree, {"v": 1, "kids": [{"v": 2, "kids": [], "w": 0}]})
    assert fits({"type": "object", "additionalProperties": {"type": "number"}}, {"x": 1})
    assert fits({"$ref": "#/$defs/m", "$defs": {"m": {"type": "object"}}}, {"x": 1})


def test_a_condition_keeps_its_meaning():
    schema = {**AB, "not": {"properties": {"a": {"const": 3}}, "required": ["a"]}}
    assert fits(schema, FULL)
    assert not fits(schema, {"a": 3, "b": "x"})


def test_nonsense_that_strictness_overwrites_is_forgiven():
    assert fits({**AB, "additionalProperties": "false", "required": {"item": ["a"]}}, FULL)


def test_the_given_schema_is_not_changed():
    given = copy.deepcopy(AB)
    strictify(given)
    assert given == AB


def test_published_strictness_walks_dictionaries_only():
    schema = {"anyOf": [copy.deepcopy(AB)], "enum": {"properties": {"x": 1}}}
    strictify_published(schema)
    assert "required" not in schema["anyOf"][0]
    assert schema["enum"]["required"] == ["x"]


def test_resolve_is_local():
    root = {"$defs": {"a/b": {"type": "null"}}}
    assert resolve("#/$defs/a~1b", root) == {"type": "null"}
    assert resolve("#", root) is root
    assert resolve("http://127.0.0.1/x", root) is None
    assert resolve("#/nowhere", root) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "bogus"},
        {"type": "object", "properties": {"a": {"$ref": "http://127.0.0.1:9/x.json"}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
        {"$ref": "#/$defs/none"},
        {"type": "string", "pattern": "("},
        {"type": "object", "additionalProperties": "false"},
    ],
)
def test_unusable_schemas(schema):
    with pytest.raises(BadSchema):
        compile_schema(schema, formats=True)


def test_accepts_answers_as_the_public_validator_for_values_json_does_not_have():
    nan, infinity = float("nan"), float("inf")
    day = datetime.date(2020, 1, 1)

    def ok(schema, value):
        return accepts(compile_schema(schema, formats=False), value)

    assert ok({"type": "number", "minimum": 3, "maximum": 4}, nan)
    assert not ok({"type": "integer"}, nan)
    assert ok({"type": "number", "minimum": 3}, infinity)
    assert not ok({"type": "number", "maximum": 3}, infinity)
    assert not ok({"type": "integer"}, infinity)
    assert ok({}, day)
    assert not ok({"type": ["string", "null"]}, day)
    assert ok({"type": "object"}, {1: "x"})
    assert not ok({"type": "object", "properties": {}, "additionalProperties": False}, {1: "x"})
    loop = []
    loop.append(loop)
    with pytest.raises(Unreadable):
        ok({}, loop)
