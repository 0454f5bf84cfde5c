"""Answers held to a schema or to a call, on all three routes: whatever the seed, the answer fits."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import jsonschema
import numpy as np
import pytest

from gym_core.client import Client
from gym_core.errors import BadRequest

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6, "pattern": "^[a-z]+$"},
        "age": {"type": "integer", "minimum": 0, "maximum": 120},
        "kind": {"enum": ["new", "old"]},
        "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
    },
    "required": ["name", "age", "kind"],
    "additionalProperties": False,
}
TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "lookup",
            "parameters": {
                "type": "object",
                "properties": {"id": {"type": "integer", "maximum": 999, "minimum": 0}, "deep": {"type": "boolean"}},
                "required": ["id"],
            },
        },
    },
    {
        "type": "function",
        "function": {
            "name": "paint",
            "parameters": {
                "type": "object",
                "properties": {"colour": {"type": "string", "enum": ["red", 'b"lue\\']}, "at": {"$ref": "#/$defs/P"}},
                "required": ["colour", "at"],
                "$defs": {
                    "P": {"type": "array", "items": {"type": "integer", "maximum": 9, "minimum": 0}, "maxItems": 2}
                },
            },
        },
    },
]
MESSAGES = [{"role": "user", "content": "Who?"}]
CHAT: dict[str, Any] = {"messages": MESSAGES, "max_tokens": 800}


async def test_every_route_and_field_holds_the_answer_to_the_schema(client: Client) -> None:
    chat_format = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA, "strict": True}}
    flat_format = {"format": {"type": "json_schema", "name": "person", "schema": SCHEMA}}
    asked: list[tuple[str, dict[str, Any]]] = [
        ("/v1/chat/completions", CHAT | {"response_format": chat_format}),
        ("/v1/chat/completions", CHAT | {"guided_json": SCHEMA}),
        ("/v1/chat/completions", CHAT | {"structured_outputs": {"json": json.dumps(SCHEMA)}}),
        ("/v1/completions", {"prompt": "Who?", "max_tokens": 800, "guided_json": SCHEMA}),
        ("/v1/completions", {"prompt": "Who?", "max_tokens": 800, "structured_outputs": {"json": SCHEMA}}),
        ("/v1/responses", {"input": "Who?", "max_output_tokens": 800, "text": flat_format}),
    ]
    requests = [client.post_json(route, body | {"seed": seed}) for route, body in asked for seed in (1, 2)]
    for reply in await asyncio.gather(*requests):
        if reply["object"] == "response":
            text = reply["output"][-1]["content"][0]["text"]
        else:
            choice = reply["choices"][0]
            text = choice["text"] if "text" in choice else choice["message"]["content"]
            assert choice["finish_reason"] == "stop"
        jsonschema.validate(json.loads(text), SCHEMA)


async def test_a_streamed_answer_fits_too(client: Client) -> None:
    body = CHAT | {"guided_json": SCHEMA, "seed": 4, "stream": True}
    raw = (await client.post("/v1/chat/completions", body)).body.decode()
    chunks = [json.loads(line[6:]) for line in raw.splitlines() if line.startswith("data: {")]
    text = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    jsonschema.validate(json.loads(text), SCHEMA)


@pytest.mark.parametrize(
    ("shape", "fits"),
    [
        ({"choice": ["yes", "no", 'per"haps']}, lambda text: text in ("yes", "no", 'per"haps')),
        ({"regex": "[0-9]{3}/[ab]"}, lambda text: len(text) == 5 and text[:3].isdigit() and text[3:] in ("/a", "/b")),
        ({"grammar": 'start: "a" ("b" "c"){2}\n'}, lambda text: text == "abcbc"),
    ],
)
async def test_other_shapes(client: Client, shape: dict[str, Any], fits: Any) -> None:
    reply = await client.post_json("/v1/completions", {"prompt": "x", "structured_outputs": shape, "n": 4, "seed": 1})
    assert all(fits(choice["text"]) for choice in reply["choices"])


async def test_ignore_eos_does_not_write_past_a_complete_grammar(client: Client) -> None:
    body = {"prompt": "x", "structured_outputs": {"choice": ["yes"]}, "ignore_eos": True, "max_tokens": 50}
    choice = (await client.post_json("/v1/completions", body))["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("yes", "stop")


async def test_required_calls_have_arguments_of_their_schema(client: Client) -> None:
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    body = CHAT | {"tools": TOOLS, "tool_choice": "required", "parallel_tool_calls": False, "temperature": 3}
    for reply in await asyncio.gather(
        *(client.post_json("/v1/chat/completions", body | {"seed": seed}) for seed in range(8))
    ):
        choice = reply["choices"][0]
        [call] = choice["message"]["tool_calls"]
        jsonschema.validate(json.loads(call["function"]["arguments"]), schemas[call["function"]["name"]])
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["content"] is None


@pytest.mark.parametrize("name", ["lookup", "paint"])
async def test_a_named_function_is_the_one_that_is_called(client: Client, name: str) -> None:
    chosen = {"type": "function", "function": {"name": name}}
    reply = await client.post_json("/v1/chat/completions", CHAT | {"tools": TOOLS, "tool_choice": chosen, "n": 3})
    for choice in reply["choices"]:
        assert [call["function"]["name"] for call in choice["message"]["tool_calls"]] == [name]
    flat = [{"type": "function", **tool["function"]} for tool in TOOLS]
    body = {"input": "Who?", "tools": flat, "tool_choice": {"type": "function", "name": name}, "max_output_tokens": 800}
    output = (await client.post_json("/v1/responses", body))["output"]
    assert [item["name"] for item in output if item["type"] == "function_call"] == [name]


async def test_a_call_that_is_cut_is_reported(client: Client) -> None:
    tool = {"name": "say", "parameters": {"properties": {"text": {"type": "string"}, "more": {}}, "required": ["text"]}}
    body = CHAT | {"tools": [{"type": "function", "function": tool}], "tool_choice": "required", "max_tokens": 20}
    reply = await client.post_json("/v1/chat/completions", body | {"ignore_eos": True, "seed": 3})
    [malformed] = reply["choices"][0]["message"]["malformed_tool_calls"]  # cut by length inside its argument
    assert malformed.startswith("no </tool_call>: '<tool_call>\\n<function=say>")


async def test_no_call_where_none_is_allowed(client: Client) -> None:
    body = CHAT | {
        "tools": TOOLS,
        "tool_choice": "none",
        "max_tokens": 200,
        "n": 8,
        "seed": 0,
        "return_token_ids": True,
    }
    reply = await client.post_json("/v1/chat/completions", body | {"ignore_eos": True})
    for choice in reply["choices"]:
        assert 14 not in choice["token_ids"]  # <tool_call>
        assert "tool_calls" not in choice["message"]


async def test_no_second_call_where_calls_are_not_parallel(client: Client) -> None:
    eager = {"14": 100, "15": 100}  # a policy that only opens and closes calls
    body = CHAT | {"tools": TOOLS, "max_tokens": 60, "n": 4, "seed": 2, "logit_bias": eager, "return_token_ids": True}
    many = await client.post_json("/v1/chat/completions", body)
    assert all(choice["token_ids"].count(14) > 2 for choice in many["choices"])
    for choice in (await client.post_json("/v1/chat/completions", body | {"parallel_tool_calls": False}))["choices"]:
        closed = choice["token_ids"].index(15, choice["token_ids"].index(14))
        assert 14 not in choice["token_ids"][closed:]


async def test_a_single_call_leaves_the_tokens_before_it_as_they_are(client: Client) -> None:
    body = CHAT | {"tools": TOOLS, "max_tokens": 30, "seed": 5, "ignore_eos": True, "return_token_ids": True}
    [free] = (await client.post_json("/v1/chat/completions", body | {"logit_bias": {"15": -100}}))["choices"]
    [held] = (
        await client.post_json(
            "/v1/chat/completions", body | {"logit_bias": {"15": -100}, "parallel_tool_calls": False}
        )
    )["choices"]
    assert held["message"]["generation_log_probs"] == free["message"]["generation_log_probs"]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"guided_json": {"type": "nothing"}}, "guided_json"),
        ({"guided_json": "{"}, "guided_json"),
        ({"guided_json": {"type": "object"}, "response_format": {"type": "json_object"}}, "response_format"),
        ({"structured_outputs": {"regex": "("}}, "structured_outputs.regex"),
        ({"structured_outputs": {"choice": []}}, "structured_outputs.choice"),
        ({"structured_outputs": {"choice": ["a"], "regex": "a"}}, "structured_outputs"),
        ({"structured_outputs": {"grammar": "start: missing"}}, "structured_outputs.grammar"),
    ],
)
async def test_what_cannot_be_held_to_is_named(client: Client, fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        await client.post_json("/v1/chat/completions", CHAT | fields)
    assert caught.value.field == field


async def test_tokens_the_grammar_chose_are_not_to_be_trained_on(client: Client) -> None:
    body = {"prompt": "x", "structured_outputs": {"regex": "aaaa[0-9]"}, "return_token_ids": True, "temperature": 0.7}
    choice = (await client.post_json("/v1/completions", body))["choices"][0]
    mask = choice["generation_loss_mask"]
    assert mask == [0] * len(choice["token_ids"])
    assert all(np.asarray(choice["generation_log_probs"]) < 0)  # the policy's own, not the forced 0


async def test_logprobs_under_a_grammar_are_those_of_the_full_forward(client: Client) -> None:
    body = {"prompt": [40, 41, 42], "guided_json": SCHEMA, "return_token_ids": True, "seed": 3, "max_tokens": 300}
    choice = (await client.post_json("/v1/completions", body))["choices"][0]
    scored = await client.post_json("/score", {"token_ids": [[40, 41, 42, *choice["token_ids"]]]})
    assert choice["generation_log_probs"] == pytest.approx(scored["logprobs"][0][3:], abs=1e-4)


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "string", "pattern": "("}, "unclosed group"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-around"),
        ({"type": "integer", "minimum": 5, "maximum": 2}, r"minimum \(5\) is greater than maximum \(2\)"),
        ({"enum": []}, "anyOf is empty"),
        ({"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}}, "Pointer '/nowhere' does not exist"),
    ],
)
async def test_an_impossible_schema_is_refused_with_its_reason(
    client: Client, schema: dict[str, Any], reason: str
) -> None:
    with pytest.raises(BadRequest, match=reason) as caught:
        await client.post_json("/v1/completions", {"prompt": "x", "guided_json": schema})
    assert "x-guidance" not in caught.value.message
