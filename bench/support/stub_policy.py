"""A policy that costs next to nothing: every turn answers the same text and the same number of tokens.

It speaks the token plane (`--mode frames`) or OpenAI chat completions with log-probabilities (`--mode openai`), so that
a benchmark can lay the cost of the hops bare.
"""

from __future__ import annotations

import argparse

import msgspec
import numpy as np
from aiohttp import web

from gym_core.serve import run
from gym_core.tokens import FRAME_TYPE, TokenTrace, encode_segment, pack_frame

TEXT = "A"


def frames(tokens: int, calls_first: bool = False) -> web.Application:
    """Answers `/v1/responses` with one ready-made frame; `calls_first` with a tool call where no tool has answered."""
    body = _frame(tokens, _MESSAGE, "start")
    call, rest = _frame(tokens, _CALL, "start"), _frame(tokens, _MESSAGE, "")

    async def turn(request: web.Request) -> web.Response:
        asked = await request.read()
        if calls_first:
            return web.Response(body=rest if b'"function_call_output"' in asked else call, content_type=FRAME_TYPE)
        return web.Response(body=body, content_type=FRAME_TYPE)

    app = web.Application()
    app.router.add_post("/v1/responses", turn)
    return app


_MESSAGE = {
    "type": "message",
    "id": "msg_stub",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": TEXT, "annotations": []}],
}
_CALL = {
    "type": "function_call",
    "id": "fc_stub",
    "call_id": "call_stub",
    "name": "company_directory_find_email_address",
    "arguments": '{"name": "a"}',
    "status": "completed",
}


def _frame(tokens: int, item: dict[str, object], began: str) -> bytes:
    """A turn that says `item` in so many tokens."""
    ids = np.arange(tokens, dtype=np.int32) % 1000
    mask = np.arange(tokens) >= min(32, tokens // 2)
    segment = encode_segment(
        TokenTrace(ids, np.where(mask, -0.5, 0.0).astype(np.float32), mask, np.where(mask, 1, -1).astype(np.int32))
    )
    head = {
        "response": {
            "id": "resp_stub",
            "object": "response",
            "output": [item],
            "usage": {"input_tokens": 32, "output_tokens": int(mask.sum())},
        },
        "began": began,
        "finish_reason": "stop",
        "policy_version_min": 1,
        "policy_version_max": 1,
    }
    return pack_frame(msgspec.json.encode(head), segment)


def openai(tokens: int) -> web.Application:
    """Answers `/v1/chat/completions` as vLLM does when it is asked for token ids."""
    ids = [number % 1000 for number in range(tokens)]
    content = [{"token": f"token_id:{token}", "logprob": -0.5, "bytes": [65], "top_logprobs": []} for token in ids]
    body = msgspec.json.encode(
        {
            "id": "chatcmpl-stub",
            "object": "chat.completion",
            "created": 1,
            "model": "stub",
            "prompt_token_ids": list(range(32)),
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": TEXT},
                    "logprobs": {"content": content},
                    "token_ids": ids,
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 32, "completion_tokens": tokens, "total_tokens": 32 + tokens},
        }
    )

    async def chat(request: web.Request) -> web.Response:
        await request.read()
        return web.Response(body=body, content_type="application/json")

    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "stub", "object": "model"}]})

    app = web.Application()
    app.router.add_post("/v1/chat/completions", chat)
    app.router.add_get("/v1/models", models)
    return app


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mode", choices=["frames", "openai", "workplace"], default="frames")
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--parent-pid", type=int)
    options = parser.parse_args()
    tools_first = options.mode == "workplace"
    app = openai(options.tokens) if options.mode == "openai" else frames(options.tokens, tools_first)
    run(app, parent_pid=options.parent_pid)


if __name__ == "__main__":
    main()
