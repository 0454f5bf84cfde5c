"""The knowing policy as an OpenAI chat endpoint that streams, for harnesses that bring a loop of their own."""

from __future__ import annotations

import json
from typing import Any

from aiohttp import web
from whole_gym import KnowingPolicy


def chat_app(policy: KnowingPolicy) -> web.Application:
    async def chat(request: web.Request) -> web.StreamResponse:
        body = await request.json()
        said = _message(policy.output(_items(body["messages"])))
        head = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
        ended = "tool_calls" if "tool_calls" in said else "stop"
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        reply = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await reply.prepare(request)
        for chunk in (
            {**head, "choices": [{"index": 0, "delta": said, "finish_reason": None}]},
            {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": ended}]},
            {**head, "choices": [], "usage": usage},
        ):
            await reply.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")
        await reply.write(b"data: [DONE]\n\n")
        await reply.write_eof()
        return reply

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    return app


def _items(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    kinds = {"tool": "function_call_output", "user": "message"}
    return [
        {"type": kinds[one["role"]], "role": one["role"], "content": one["content"]}
        for one in messages
        if one["role"] in kinds
    ]


def _message(output: list[dict[str, Any]]) -> dict[str, Any]:
    said: dict[str, Any] = {"role": "assistant", "content": None}
    for index, item in enumerate(output):
        if item["type"] == "message":
            said["content"] = item["content"][0]["text"]
            continue
        function = {"name": item["name"], "arguments": item["arguments"]}
        call = {"index": index, "id": item["call_id"], "type": "function", "function": function}
        said.setdefault("tool_calls", []).append(call)
    return said
