"""What a verifier sees of a rollout: the one place where "text of the last reply" is decided.

Thinking never reaches a strict verifier: it is cut from every text here, paired or not. The published gradings, which
must repeat the public verifiers' own choice of text, find it in `raw_text`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

_OPEN, _CLOSE = "<think>", "</think>"


@dataclass(slots=True, frozen=True)
class ToolCall:
    """A function call of the policy; `arguments` is the JSON text as it was written."""

    name: str
    arguments: str
    call_id: str = ""


@dataclass(slots=True, frozen=True)
class Reply:
    """The policy's side of a finished rollout.

    `text` is the last assistant message without thinking, `all_text` all of them joined; `last_raw_text` and `raw_text`
    are the same as they came; `tool_calls` are in order; `items` is the Responses `output` list itself.
    """

    text: str
    all_text: str = ""
    raw_text: str = ""
    last_raw_text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    items: list[dict[str, Any]] = field(default_factory=list)

    @property
    def empty(self) -> bool:
        """True where there is nothing to grade; strict grading answers 0."""
        return not self.text.strip()


def strip_thinking(text: str) -> str:
    """Cut `<think>…</think>`, also a block whose opening tag stood in the prompt, and one that never closed.

    Linear in the length of the text, whatever the tags: it runs on the event loop over what a policy wrote.
    """
    if "think>" not in text:
        return text
    kept, place = [], 0
    while (opened := text.find(_OPEN, place)) >= 0 and (closed := text.find(_CLOSE, opened)) >= 0:
        kept.append(text[place:opened])
        place = closed + len(_CLOSE)
    text = "".join([*kept, text[place:]])
    text = text.rpartition(_CLOSE)[2]
    opened = text.find(_OPEN)
    return text if opened < 0 else text[:opened]


def message_text(item: dict[str, Any]) -> str:
    """Text of one message item, whose content is a string or a list of parts."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "".join(
        part["text"]
        for part in content
        if isinstance(part, dict) and part.get("type") in ("output_text", "text") and isinstance(part.get("text"), str)
    )


def read_reply(output: list[dict[str, Any]]) -> Reply:
    """Read a Responses `output` list (assistant messages, function calls, their outputs, reasoning)."""
    texts, calls = [], []
    for item in output:
        kind = item.get("type") or ("message" if "role" in item else "")
        if kind == "message" and item.get("role", "assistant") == "assistant":
            texts.append(message_text(item))
        elif kind == "function_call":
            arguments = item.get("arguments")
            calls.append(
                ToolCall(
                    str(item.get("name", "")),
                    arguments if isinstance(arguments, str) else "{}",
                    str(item.get("call_id", "")),
                )
            )
    stripped = [strip_thinking(text) for text in texts]
    return Reply(
        text=stripped[-1] if stripped else "",
        all_text="".join(stripped),
        raw_text="".join(texts),
        last_raw_text=texts[-1] if texts else "",
        tool_calls=tuple(calls),
        items=output,
    )


def text_output(text: str) -> list[dict[str, Any]]:
    """The `output` list of a policy that just says this text (oracles, scripted policies, tests)."""
    return [
        {
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": text, "annotations": []}],
        }
    ]
