r"""What a judge is shown of a reply to a published row.

published   the last message as it came, or what the row's expression finds in it (the last match)
strict      the reply without thinking: the row's expression, else the box, else the `Answer:` line, else all of it;
            where several are found they must agree
"""

from __future__ import annotations

import re
from typing import Any

from environments.long_context_qa.answers import folded
from environments.long_context_qa.expressions import found
from environments.long_context_qa.grading import MARKER, final_answer
from environments.long_context_qa.rows import JudgeOptions

NOTHING = "[NO VALID ANSWER EXTRACTED]"
"""What the public server shows its judge where there is no text."""

MAX_CANDIDATE = 4_000
"""A longer candidate is no answer but a document."""

_BRACES = re.compile(r"\\boxed\{|[{}]")


class Unclear(ValueError):
    """Why the reply commits to no single answer."""


def strict_candidate(text: str, expected: str, expression: str, options: JudgeOptions) -> str:
    """The one answer of a reply. Raises `Unclear`, and `Slow` for an expression that does not finish."""
    candidates = found(expression, text) if expression and not skipped(expected, expression, options) else []
    candidates = candidates or boxes(text)
    if not candidates and any(MARKER.match(line) for line in text.splitlines()):
        said, reason = final_answer(text)
        if said is None:
            raise Unclear(reason)
        candidates = [said]
    candidates = candidates or [text.strip()]
    if len({folded(candidate) for candidate in candidates}) > 1:
        raise Unclear("several answers")
    if len(candidates[-1]) > MAX_CANDIDATE:
        raise Unclear("too long for an answer")
    return candidates[-1]


def boxes(text: str) -> list[str]:
    r"""What stands in each closed `\boxed{…}` that is in no other one; linear in the text."""
    contents: list[str] = []
    starts: list[int] = []  # of boxes that are open, 0 for other braces
    open_boxes = 0
    for mark in _BRACES.finditer(text):
        if mark[0] != "}":
            boxed = len(mark[0]) > 1
            starts.append(mark.end() if boxed else 0)
            open_boxes += boxed
        elif starts and (start := starts.pop()):
            open_boxes -= 1
            if not open_boxes:
                contents.append(text[start : mark.start()].strip())
    return contents


# As the public server does it ------------------------------------------------------------------------------------


def published_candidate(items: list[dict[str, Any]], expected: str, expression: str, options: JudgeOptions) -> str:
    """What the public server's first request holds. Raises `Slow`."""
    pattern = options.response_extract_regex
    if expression:
        pattern = None if skipped(expected, expression, options) else expression
    return last_message(items, pattern)


def skipped(expected: str, expression: str, options: JudgeOptions) -> bool:
    """Whether the row's expression is left aside because the answer is long."""
    limit = options.extraction_length_threshold
    return bool(expression) and limit is not None and len(expected) > limit


def last_message(items: list[dict[str, Any]], pattern: str | None = None) -> str:
    """The last message's text, its parts on lines of their own, or the last thing that the expression finds in it."""
    text = _last_text(items)
    if not text:
        return NOTHING
    matches = found(pattern, text) if pattern else []
    return matches[-1] if matches else text


def _last_text(items: list[dict[str, Any]]) -> str:
    for item in reversed(items):
        kind = item.get("type") or ("message" if "role" in item else "")
        if kind != "message" or item.get("role", "assistant") != "assistant":
            continue
        content = item.get("content")
        if isinstance(content, list):
            texts = (part.get("text") for part in content if isinstance(part, dict))
            return "\n".join(text for text in texts if isinstance(text, str)).strip()
        return content.strip() if isinstance(content, str) else ""
    return ""


def published_question(given: str | list[dict[str, Any]], pattern: str | None) -> str:
    """The last user message that is plain text, or what the expression finds in it; "" for an input that is text."""
    if isinstance(given, str):
        return ""
    texts = [item["content"] for item in given if item.get("role") == "user" and isinstance(item.get("content"), str)]
    text = texts[-1].strip() if texts else ""
    matches = found(pattern, text) if pattern and text else []
    return matches[-1] if matches else text
