"""Responses objects in OpenAI's full shape: peers that validate strictly want the fields that we leave out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

Item = dict[str, Any]

_NUMBERS = ("input_tokens", "output_tokens")


def full_response(
    output: Sequence[Item],
    params: Mapping[str, Any],
    *,
    response_id: str,
    truncated: bool = False,
    usage: Mapping[str, int] | None = None,
    created_at: float | None = None,
) -> Item:
    """A Responses object of these output items; `params` are the create parameters that it answers."""
    reply: Item = {
        "id": response_id,
        "object": "response",
        "created_at": int(time.time() if created_at is None else created_at),
        "model": str(params.get("model") or "policy"),
        "status": "incomplete" if truncated else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if truncated else None,
        "output": [full_item(item, f"{response_id}_{number}") for number, item in enumerate(output)],
        "parallel_tool_calls": params.get("parallel_tool_calls", True),
        "tool_choice": params.get("tool_choice", "auto"),
        "tools": params.get("tools") or [],
    }
    if usage is not None:
        given, written = (usage.get(name, 0) for name in _NUMBERS)
        reply["usage"] = {
            "input_tokens": given,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": given + written,
        }
    return reply


def full_item(item: Item, item_id: str) -> Item:
    """One output item with every field that its kind requires; what it has already stays."""
    kind = item.get("type", "message")
    if kind == "message":
        content = item.get("content")
        parts = [{"type": "output_text", "text": content}] if isinstance(content, str) else content or []
        whole = [_text_part(part) for part in parts]
        defaults: Item = {"id": item_id, "type": "message", "role": "assistant", "status": "completed"}
        return {**defaults, **item, "content": whole}
    if kind == "reasoning":
        return {"id": item_id, "summary": [], **item}
    if kind == "function_call":
        return {"id": item_id, "status": "completed", **item}
    return dict(item)


def _text_part(part: Item) -> Item:
    return {"annotations": [], **part} if part.get("type") == "output_text" else part
