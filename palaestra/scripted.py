"""A policy server without a model: it plays prepared scripts over the policy server's own protocol.

    prompt ─▶ its script ─▶ turn n is its n-th tool call, and after the last one its reply

A script has no probabilities, so it sends no tokens: what it plays can be scored and looked at, never trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from gym_core.contracts import Task
from gym_core.environment import Script
from gym_core.errors import BadRequest, UnknownName
from gym_core.reply import text_output
from gym_core.serve import harden
from gym_core.tokens import FRAME_TYPE, pack_frame, unpack_frame

ASKING = ("user", "system", "developer")


def prompt_key(items: list[dict[str, Any]]) -> bytes:
    """What tells prompts apart: the words of everybody but the policy."""
    asked = [[item.get("role"), item.get("content")] for item in items if item.get("role") in ASKING]
    return msgspec.json.encode(asked)


def scripts_by_prompt(played: Mapping[str, tuple[Task, Script]]) -> dict[bytes, Script]:
    """Scripts as `build_app` takes them. Raises ValueError where two tasks ask in the same words."""
    scripts = {prompt_key(task.messages): script for task, script in played.values()}
    if len(scripts) < len(played):
        raise ValueError("two tasks have the same prompt: a script could not be told from the other")
    return scripts


def build_app(scripts: Mapping[bytes, Script], *, token: str | None = None) -> web.Application:
    """The policy server; a prompt without a script is refused."""

    async def turn(request: web.Request) -> web.Response:
        try:
            head, _ = unpack_frame(await request.read())
            items = msgspec.json.decode(head)["request"]["input"]
        except (ValueError, KeyError, TypeError) as error:
            raise BadRequest(f"a scripted policy takes frames of the token plane: {error}") from None
        script = scripts.get(prompt_key(items))
        if script is None:
            raise UnknownName(
                "there is no script for this prompt", field="input", hint="play the tasks it was made for"
            )
        done = sum(item.get("type") == "function_call_output" for item in items)
        said = {
            "response": {"output": _turn(script, done), "usage": {"input_tokens": 0, "output_tokens": 0}},
            "began": "" if done else "start",
            "finish_reason": "stop",
        }
        return web.Response(body=pack_frame(msgspec.json.encode(said)), content_type=FRAME_TYPE)

    app = web.Application()
    app.router.add_post("/v1/responses", turn)
    return harden(app, "policy", token)


def _turn(script: Script, done: int) -> list[dict[str, Any]]:
    if done >= len(script.calls):
        return text_output(script.reply)
    call = script.calls[done]
    arguments = msgspec.json.encode(call.arguments).decode()
    return [{"type": "function_call", "call_id": f"call_{done}", "name": call.name, "arguments": arguments}]
