"""The text that the public servers take for the last response (NVIDIA-NeMo/Gym @ 07d6b0d0, `multichallenge/app.py`,
`inverse_if/app.py`): the last assistant message, thinking cut, also where only its end is written."""

from __future__ import annotations

from typing import Any

from gym_core.reply import Reply

TAGS = ("think", "thinking")


def last_response(reply: Reply) -> str:
    """Parts joined by line breaks; messages without content are passed over."""
    for item in reversed(reply.items):
        if item.get("type", "message") == "message" and item.get("role") == "assistant":
            text = _text(item.get("content"))
            if text is not None:
                return _without_thinking(text.strip()).strip()
    return ""


def _text(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))


def _without_thinking(text: str) -> str:
    for tag in TAGS:
        text = _without_pairs(text, f"<{tag}>", f"</{tag}>")
    for tag in TAGS:
        text = text.partition(f"</{tag}>")[2] if f"</{tag}>" in text else text
    return text


def _without_pairs(text: str, opens: str, closes: str) -> str:
    """Without everything from an opening mark to the next closing one, in time linear in the text."""
    kept, place = [], 0
    while (start := text.find(opens, place)) >= 0 and (end := text.find(closes, start)) >= 0:
        kept.append(text[place:start])
        place = end + len(closes)
    return "".join([*kept, text[place:]])
