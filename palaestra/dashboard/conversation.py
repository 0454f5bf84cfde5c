"""A rollout as people read it: who said what, thinking apart, each tool call beside its result.

Everything here was written by a policy, a tool or a stranger's data set: whatever shape an item has, it becomes a part
with plain text, cut to a length that a page can bear. Escaping is the page's; it never makes markup of any of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

CUT = 20_000
"""Characters of one part that are sent at first."""

_OPEN, _CLOSE = "<think>", "</think>"


class Part(msgspec.Struct, kw_only=True):
    """`kind` is system, user, assistant, think, call, tool or other; `length` counts the characters of the whole."""

    kind: str
    text: str
    title: str = ""
    call_id: str = ""
    prompt: bool = False
    length: int = 0


def parts_of(output: list[Any], row: dict[str, Any] | None = None) -> list[Part]:
    """All parts, whole: those of the row's prompt first, where the row is known."""
    params = (row or {}).get("responses_create_params")
    given = params.get("input") if isinstance(params, dict) else None
    asked: list[Any] = [{"role": "user", "content": given}] if isinstance(given, str) else given or []
    found: list[Part] = []
    if isinstance(params, dict) and isinstance(params.get("instructions"), str):
        found.append(Part(kind="system", text=params["instructions"], prompt=True))
    for items, prompt in ((asked, True), (output, False)):
        for item in items if isinstance(items, list) else [items]:
            for part in _parts(item):
                part.prompt = prompt
                found.append(part)
    for part in found:
        part.length = len(part.text)
    return found


def cut(parts: list[Part], limit: int = CUT) -> list[Part]:
    """The same with long texts cut; `length` still says how long they are."""
    return [msgspec.structs.replace(part, text=part.text[:limit]) for part in parts]


def last_words(output: list[Any]) -> str:
    """The last thing that was said, in one line, for lists."""
    for item in reversed(output):
        for part in reversed(list(_parts(item))):
            if part.kind != "tool" and part.text.strip():
                prefix = f"{part.title} " if part.kind == "call" else ""
                return " ".join(f"{prefix}{part.text[:2000]}".split())
    return ""


def _parts(item: Any) -> Iterator[Part]:
    if not isinstance(item, dict):
        yield Part(kind="other", title=type(item).__name__, text=_json(item))
        return
    match item.get("type", "message"):
        case "message":
            yield from _message(item)
        case "reasoning":
            yield Part(kind="think", text=_reasoning(item))
        case "function_call":
            yield Part(
                kind="call",
                title=_text(item.get("name")),
                text=_text(item.get("arguments")),
                call_id=_text(item.get("call_id")),
            )
        case "function_call_output":
            yield Part(kind="tool", text=_text(item.get("output")), call_id=_text(item.get("call_id")))
        case kind:
            yield Part(kind="other", title=_text(kind), text=_json(item))


def _message(item: dict[str, Any]) -> Iterator[Part]:
    role = item.get("role", "assistant")
    kind = role if role in ("system", "user", "assistant") else "system" if role == "developer" else "other"
    for thought, text in _thoughts(_content(item.get("content"))):
        if thought:
            yield Part(kind="think", text=text)
        else:
            yield Part(kind=kind, title=_text(role) if kind == "other" else "", text=text)


def _thoughts(text: str) -> Iterator[tuple[bool, str]]:
    """(is it thinking, text): `<think>…</think>` apart, one without its opening or its end too. Linear in the text."""
    if _CLOSE in text and (_OPEN not in text or text.index(_CLOSE) < text.index(_OPEN)):
        thought, _, text = text.partition(_CLOSE)
        yield True, thought.strip()
    while _OPEN in text:
        said, _, rest = text.partition(_OPEN)
        thought, closed, text = rest.partition(_CLOSE)
        if said.strip():
            yield False, said.strip()
        yield True, thought.strip()
        if not closed:
            return
    yield False, text


def _content(content: Any) -> str:
    if isinstance(content, list):
        return "".join(_content_part(part) for part in content)
    return _text(content)


def _content_part(part: Any) -> str:
    if isinstance(part, dict):
        for key in ("text", "refusal"):
            if isinstance(part.get(key), str):
                return str(part[key])
    return _text(part)


def _reasoning(item: dict[str, Any]) -> str:
    texts = [_content(item.get(key)) for key in ("content", "summary") if item.get(key)]
    return "\n\n".join(text for text in texts if text)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else _json(value)


def _json(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
