"""Every field of every generating route given what it was not made for: refused by name or answered, never a fault."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from gym_core.client import Client
from policy_server.app import ScoreParams
from policy_server.chat_completions import ChatParams
from policy_server.completions import CompletionParams
from policy_server.responses import ResponsesParams
from policy_server.token_routes import DetokenizeParams, TokenizeParams

ROUTES: dict[str, tuple[type, dict[str, Any]]] = {
    "/v1/completions": (CompletionParams, {"prompt": "x", "max_tokens": 2}),
    "/v1/chat/completions": (ChatParams, {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}),
    "/v1/responses": (ResponsesParams, {"input": "hi", "max_output_tokens": 2}),
    "/tokenize": (TokenizeParams, {"prompt": "x"}),
    "/detokenize": (DetokenizeParams, {"tokens": [5]}),
    "/score": (ScoreParams, {"token_ids": [[5, 6]]}),
}
NUMBERS: list[Any] = [True, 0, -1, 3, 2**31, 2**63, 2**70, -(2**63), 1e308, 1e-300, 0.5]
TEXTS: list[Any] = ["", "x", "\u0000", "required", "none"]
LISTS: list[Any] = [[], [None], [[]], [5], [-1], [2**40], [2**70], [""], ["a"], [1, "a"], [True]]
OBJECTS: list[Any] = [
    {}, {"a": 1}, {"5": "a"}, {"-1": 3}, {"1": None}, {"type": None}, {"type": "json_schema"},
    {"type": "json_schema", "schema": 5}, {"type": "json_object"}, {"type": "function", "function": {"name": 5}},
    {"format": 5}, {"format": {"type": "json_schema", "schema": [5]}}, {"include_usage": "maybe"},
    {"json": {"type": "object", "properties": {"a": {"$ref": "#/nope"}}}}, {"regex": "("}, {"regex": "a{9999999}"},
    {"choice": [5]}, {"choice": []}, {"grammar": "start: nope"}, {"json": "{"}, {"enable_thinking": "yes"},
    {"chat_template_kwargs": 5}, {"chat_template_kwargs": "[]"}, {"reasoning_budget": -1}, {"effort": 5},
]  # fmt: skip
BUNDLES: list[Any] = [
    {"generation_token_ids": [2**70], "prompt_token_ids": [5]},
    {"generation_token_ids": [99999999], "prompt_token_ids": [-5]},
    {"generation_token_ids": [], "prompt_token_ids": []},
    {"generation_token_ids": [5], "prompt_token_ids": "no"},
    {"generation_token_ids": "no"},
]
CALL = {"type": "function", "function": {"name": "a", "parameters": {"properties": {"x": 5}}}}
MESSAGES: list[Any] = [
    [{"role": "user"}], [{"role": "user", "content": None}], [{"role": "user", "content": [5]}],
    [{"role": "user", "content": [{"type": "text", "text": 5}]}], [{"role": "tool", "content": "x"}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    [{"role": "assistant", "content": "x", "tool_calls": [{}]}], [{"role": "assistant", "tool_calls": "no"}],
    [{"role": "assistant", "tool_calls": ["no"]}], [{"role": "assistant", "tool_calls": [{"function": 5}]}],
    [{"type": "function"}], [{"type": "function", "function": None}], [CALL],
    [{"type": "function", "name": "a", "parameters": 5}],
    [{"type": "function_call"}], [{"type": "function_call_output", "call_id": 1, "output": {}}],
    *([{"role": "assistant", "content": "x", **more}, {"role": "user", "content": "y"}] for more in BUNDLES),
]  # fmt: skip
BODIES = [
    b"", b"{", b"[]", b"null", b"5", b'"x"', b"\xff\xfe", b"[" * 50_000, b'{"a":' * 5000, b'{"prompt": "\\ud800"}',
    b'{"messages": [{"role": "user", "content": "\\ud800"}]}', b'{"input": "\\ud800", "max_output_tokens": 2}',
    b'{"prompt": "x", "temperature": NaN}', b'{"prompt": "x", "temperature": 1e999}', b'{"prompt": "x"}x',
]  # fmt: skip


def hostile(route: str) -> list[bytes]:
    """Bodies: what is no request at all, and each field with what it is not. Messages where messages may stand, and of
    the other values every third, begun at another one for each field."""
    kind, body = ROUTES[route]
    values = [None, *NUMBERS, *TEXTS, *LISTS, *OBJECTS]
    bodies = []
    for number, field in enumerate(kind.__struct_fields__):  # type: ignore[attr-defined]  # of every msgspec structure
        typed = MESSAGES if field in ("messages", "input", "tools") else []
        bodies += [body | {field: value} for value in [*values[number % 3 :: 3], [2**70], [[2**70]], *typed]]
    if route.startswith("/v1"):
        bodies += [{**each, "stream": True} for each in bodies[::7]]
    return [*BODIES, *(json.dumps(each).encode() for each in bodies)]


def complaint(status: int, text: str, streamed: bool) -> str:
    """What is wrong with an answer; empty when it is an answer, or a refusal in OpenAI's shape."""
    if status >= 500:
        return "a fault"
    if status >= 400:
        error = json.loads(text)["error"]
        whole = isinstance(error["message"], str) and error["type"] == "invalid_request_error" and error["code"]
        return "" if whole and "param" in error else "not in OpenAI's shape"
    return "a stream that broke" if streamed and '"server_error"' in text else ""


@pytest.mark.parametrize("route", ROUTES)
async def test_no_body_is_a_fault(hybrid_client: Client, route: str) -> None:
    found: list[tuple[str, bytes, str]] = []
    room = asyncio.Semaphore(16)

    async def ask(session: aiohttp.ClientSession, body: bytes) -> None:
        async with room, session.post(f"{hybrid_client.base_url}{route}", data=body) as reply:
            text = await reply.text()
        if what := complaint(reply.status, text, b'"stream": true' in body):
            found.append((what, body[:200], text[:300]))

    async with aiohttp.ClientSession(headers={"Content-Type": "application/json"}) as session:
        await asyncio.gather(*(ask(session, body) for body in hostile(route)))
    assert not found, f"{len(found)}: {found[:20]}"
    assert (await hybrid_client.get_json("/healthz")) is not None
