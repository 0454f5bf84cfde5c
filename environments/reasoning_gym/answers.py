r"""Where the answer stands in a reply: strictly, and as the public server looks for it.

strict     one `<answer>…</answer>`, or else one `\boxed{…}`, or else the whole last message; two of a kind are none
published  the last `<answer>…</answer>` of all texts, else the first `\boxed{…}` up to its first brace, else everything
           (NVIDIA-NeMo/Gym @ 07d6b0d0, resources_servers/reasoning_gym/app.py)

Both take time linear in the text. The public expressions, `<answer>\s?(.*?)\s?</answer>` and `\\boxed\{([^}]+)\}`,
begin anew at every opening, so that 20,000 openings without an end take minutes.
"""

from __future__ import annotations

import re

MAX_LENGTH = 100_000
"""Longer answers are read by no grader."""

_TAG, _END, _BOX = "<answer>", "</answer>", "\\boxed{"
_OPEN_BOX = re.compile(r"\\boxed\s*\{")


def strict_answer(text: str) -> str | None:
    """The one answer of a reply without thinking, None where there is none or more than one."""
    text = text.strip()
    if not text or len(text) > MAX_LENGTH:
        return None
    opened, closed = text.count("<answer>"), text.count("</answer>")
    if opened or closed:
        start, end = text.find("<answer>") + len("<answer>"), text.find("</answer>")
        return text[start:end].strip() if opened == closed == 1 and start <= end else None
    boxes = [match.end() for match in _OPEN_BOX.finditer(text)]
    if boxes:
        return _boxed(text, boxes[0]) if len(boxes) == 1 else None
    return text


def _boxed(text: str, start: int) -> str | None:
    depth = 1
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[start:position].strip()
    return None


def published_answer(text: str) -> str:
    """The public server's choice, from all texts joined as they came."""
    tagged = _last_tagged(text)
    if tagged is not None:
        return tagged
    boxed = _first_boxed(text)
    return (text if boxed is None else boxed).strip()


def _last_tagged(text: str) -> str | None:
    found, place = None, 0
    while (start := text.find(_TAG, place)) >= 0 and (end := text.find(_END, start + len(_TAG))) >= 0:
        found = text[start + len(_TAG) : end].strip()
        place = end + len(_END)
    return found


def _first_boxed(text: str) -> str | None:
    """Up to the first closing brace; an empty box is none."""
    place = 0
    while (start := text.find(_BOX, place)) >= 0 and (end := text.find("}", start + len(_BOX))) >= 0:
        if end > start + len(_BOX):
            return text[start + len(_BOX) : end]
        place = end
    return None
