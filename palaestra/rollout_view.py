"""A stored rollout for people: who said what, which tools were called, and the verdict."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import msgspec

from gym_core.store import Stored
from palaestra.stored import printable


def rollout_data(stored: Stored) -> dict[str, Any]:
    """A rollout and the row it was played from, as plain data."""
    told: dict[str, Any] = msgspec.to_builtins(stored.rollout)
    return {**told, "reward": stored.rollout.reward, "row": stored.row}


def rollout_lines(stored: Stored) -> Iterator[str]:
    """Lines for a terminal; what models and tools wrote cannot move its cursor."""
    rollout = stored.rollout
    yield f"{rollout.rollout_id}  {rollout.environment} {rollout.environment_version}  {rollout.outcome.value}"
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(rollout.created_at))
    place = f"task {rollout.task_id}, repeat {rollout.repeat}, step {rollout.step}, run {rollout.run_id or '–'}"
    yield f"{printable(place)}, {when} UTC"
    yield ""
    for who, text in spoken([*_prompt(stored.row), *rollout.output]):
        yield f"[{printable(who)}]"
        yield printable(text)
        yield ""
    verdict = rollout.verdict
    if verdict is not None:
        parts = "  ".join(f"{name} {value:g}" for name, value in verdict.components.items())
        yield f"reward {verdict.reward:g} ({verdict.grading.value})  {printable(parts)}".rstrip()
        others = {name: value for name, value in verdict.gradings.items() if name != verdict.grading.value}
        yield from (f"reward {value:g} ({name})" for name, value in others.items())
        for name, detail in verdict.details.items():
            yield printable(f"  {name}: {_short(detail)}")
    if rollout.error is not None:
        yield printable(f"error at {rollout.error.stage or '?'}: {rollout.error}")
    usage = rollout.usage
    tokens = f"{usage.input_tokens} tokens in, {usage.output_tokens} out"
    yield f"{usage.turns} turns, {usage.tool_calls} tool calls ({usage.tool_errors} failed), {tokens}"
    traces = ", ".join(f"{trace.num_tokens} tokens ({trace.began})" for trace in rollout.traces)
    yield f"traces: {traces or 'none'}"


def spoken(items: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """(who, text) of Responses items: messages by their role, thinking, calls and what tools answered."""
    for item in items:
        kind = item.get("type", "message")
        if kind == "function_call":
            yield f"call {item.get('name', '')}", _text(item.get("arguments"))
        elif kind == "function_call_output":
            yield "tool", _text(item.get("output"))
        elif kind == "reasoning":
            yield "thinking", _text(item.get("summary") or item.get("content"))
        else:
            yield str(item.get("role") or kind), _text(item.get("content"))


def _prompt(row: dict[str, Any] | None) -> list[dict[str, Any]]:
    given = (row or {}).get("responses_create_params", {}).get("input", [])
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(_text(part.get("text", part)) if isinstance(part, dict) else _text(part) for part in content)
    return content if isinstance(content, str) else msgspec.json.encode(content).decode()


def _short(value: Any, limit: int = 300) -> str:
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return text if len(text) <= limit else f"{text[:limit]}…"
