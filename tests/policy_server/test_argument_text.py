"""The bounds of an argument that is written as text: those of its schema, and what a random policy makes of them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema
import pytest

from gym_core.client import Client
from policy_server.argument_text import Form, Json, Literal, Text, forms, slashes_escaped

ROOT = {"$defs": {"color": {"type": "string", "enum": ["cyan", "pink"]}, "self": {"$ref": "#/$defs/self"}}}


@pytest.mark.parametrize(
    ("schema", "found"),
    [
        ({"const": "fixed"}, [Literal("fixed")]),
        ({"enum": ["a", 1, None]}, [Literal("a"), Literal("1"), Literal("null")]),
        ({"type": ["string", "integer"], "enum": ["1", 1]}, [Literal("1")]),
        ({"$ref": "#/$defs/color"}, [Literal("cyan"), Literal("pink")]),
        ({"type": "string", "maxLength": 5}, [Text("/(?s:.{0,5})/")]),
        ({"type": "string", "minLength": 2}, [Text("/(?s:.{2,})/")]),
        ({"type": "string", "pattern": "^a/b$"}, [Text(r"/(?:a\/b)/")]),
        ({"type": "string", "pattern": "^[$^]"}, [Text("/(?:[$^])(?s:.*)/")]),
        ({"type": "string", "pattern": r"^\d[\w-]$"}, [Text("/(?:[0-9][0-9A-Za-z_-])/")]),
        ({"type": "string", "pattern": "a|b"}, [Text("/(?s:.*)(?:a|b)(?s:.*)/")]),
        ({"type": "string", "pattern": "^(a|b)$"}, [Text("/(?:(a|b))/")]),
        ({"type": "string", "maxLength": 9, "pattern": "x"}, [Text("/(?s:.{0,9})/ & /(?s:.*)(?:x)(?s:.*)/")]),
        ({"type": ["string", "null"], "maxLength": 3}, [Text("/(?s:.{0,3})/"), Json({"type": "null", "maxLength": 3})]),
        ({"anyOf": [{"enum": ["u"]}, {"type": "boolean"}]}, [Literal("u"), Json({"type": "boolean"})]),
    ],
)
def test_forms_by_hand(schema: dict[str, Any], found: list[Form]) -> None:
    assert forms(schema, ROOT) == found


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        None,
        {"type": "string"},
        {"type": "string", "format": "date"},
        {"type": "string", "pattern": "^a|b$"},
        {"type": "string", "pattern": "a^b"},
        {"anyOf": [{"type": "string"}, {"enum": ["a"]}]},
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "#/$defs/self"},
        {"allOf": [{"type": "string"}, {"maxLength": 3}]},
    ],
)
def test_any_text_where_nothing_bounds_it(schema: Any) -> None:
    assert forms(schema, ROOT) is None


def test_slashes_are_escaped_once() -> None:
    assert slashes_escaped(r"a/b\/c\\/[/]") == r"a\/b\/c\\\/[\/]"
    assert slashes_escaped("a\nb") == r"a\nb"


FIELDS: dict[str, Any] = {
    "short": {"type": "string", "maxLength": 5},
    "code": {"type": "string", "pattern": r"^[A-C]{2,4}/\d$"},
    "color": {"$ref": "#/$defs/color"},
    "mixed": {"enum": ["one", 2, None]},
    "maybe": {"type": ["string", "null"], "minLength": 1, "maxLength": 4},
    "either": {"anyOf": [{"const": "all"}, {"type": "integer", "minimum": 0, "maximum": 99}]},
}


@pytest.mark.parametrize("names", [("short", "code", "color"), ("mixed", "maybe", "either")])
async def test_calls_that_a_random_policy_has_to_make_fit_their_schema(client: Client, names: tuple[str]) -> None:
    schema = {"type": "object", "properties": {name: FIELDS[name] for name in names}, "required": [*names]}
    schema["$defs"] = {"color": ROOT["$defs"]["color"]}
    body = {
        "messages": [{"role": "user", "content": "x"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": schema}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "max_tokens": 500,
    }
    replies = await asyncio.gather(
        *(client.post_json("/v1/chat/completions", body | {"seed": seed}) for seed in range(6))
    )
    for reply in replies:
        [call] = reply["choices"][0]["message"]["tool_calls"]
        arguments = json.loads(call["function"]["arguments"])
        jsonschema.validate(arguments, schema)
        assert list(arguments) == [*names]


@pytest.mark.parametrize("pattern", ["[0-9]/[0-9]", r"[0-9]\/[0-9]"])
async def test_a_slash_in_a_regular_expression_may_be_escaped(client: Client, pattern: str) -> None:
    reply = await client.post_json("/v1/completions", {"prompt": "x", "structured_outputs": {"regex": pattern}})
    first, _, second = reply["choices"][0]["text"].partition("/")
    assert first.isdigit()
    assert second.isdigit()
