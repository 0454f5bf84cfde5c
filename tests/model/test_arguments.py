"""Argument texts become the types their schema declares, or stay what they are."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.arguments import dumps, typed_arguments, typed_value

UNHURRIED = settings(deadline=None)  # the machine may be busy

ROOT = {"$defs": {"Point": {"type": "object"}, "Loop": {"anyOf": [{"$ref": "#/$defs/Loop"}, {"type": "integer"}]}}}
NULLABLE = {"type": ["string", "null"]}


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("12", {"type": "integer"}, 12),
        (" -3\n", {"type": "integer"}, -3),
        ("4.0", {"type": "integer"}, 4),
        ("4.5", {"type": "integer"}, "4.5"),
        ("many", {"type": "integer"}, "many"),
        ("true", {"type": "integer"}, "true"),
        ("9" * 5000, {"type": "integer"}, "9" * 5000),
        ("2", {"type": "number"}, 2),
        ("2.5e1", {"type": "number"}, 25.0),
        ("NaN", {"type": "number"}, "NaN"),
        ("1e999", {"type": "number"}, "1e999"),
        ("True", {"type": "boolean"}, True),
        ("false", {"type": "boolean"}, False),
        ("yes", {"type": "boolean"}, "yes"),
        ("null", {"type": ["integer", "null"]}, None),
        ("None", {"type": ["integer", "null"]}, None),
        ("None", NULLABLE, "None"),
        ("null", NULLABLE, None),
        ("null", {"type": "string"}, "null"),
        ("12", {"type": "string"}, "12"),
        (" 12 ", {"type": "string"}, " 12 "),
        ("007", {"type": ["string", "integer"]}, "007"),
        ('["a", 1]', {"type": "array"}, ["a", 1]),
        ("[1", {"type": "array"}, "[1"),
        ("[" * 100_000, {"type": "array"}, "[" * 100_000),
        ('{"a": 1}', {"type": "object"}, {"a": 1}),
        ("[1]", {"type": "object"}, "[1]"),
        ("3", {"enum": [1, 2, 3]}, 3),
        ("b", {"enum": ["a", "b", None]}, "b"),
        ("true", {"const": True}, True),
        ("1", {"anyOf": [{"type": "boolean"}, {"type": "integer"}]}, 1),
        ('{"x": 0}', {"$ref": "#/$defs/Point"}, {"x": 0}),
        ("5", {"$ref": "#/$defs/Loop"}, 5),
        ("5", {"$ref": "#/nowhere/at/all"}, "5"),
        ("5", {}, "5"),
        ("5", True, "5"),
        ("5", {"type": 3, "anyOf": 4}, "5"),
        ("5", None, "5"),
    ],
)
def test_a_text_becomes_its_declared_type(text, field, value):
    typed = typed_value(text, field, ROOT)
    assert typed == value
    assert type(typed) is type(value)


def test_undeclared_arguments_stay_strings():
    schema = {"properties": {"a": {"type": "integer"}}}
    assert typed_arguments({"a": "1", "b": "1"}, schema) == {"a": 1, "b": "1"}
    assert typed_arguments({"a": "1"}, {"properties": 3}) == {"a": "1"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@UNHURRIED
@given(st.lists(JSON, max_size=4) | st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_any_array_or_object_survives(value):
    typed = typed_value(dumps(value), {"type": ["array", "object"]}, {})
    assert typed == value


def test_dumps_escapes_only_what_has_no_utf8_form():
    assert dumps({"a": "é漢"}) == '{"a": "é漢"}'
    assert json.loads(dumps("\ud800").encode()) == "\ud800"
