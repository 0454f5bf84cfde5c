"""RULER rows: the public share of references that occur in the reply, and a strict form that dumping cannot win.

    published   mean over references of: is it a substring of the reply, upper and lower case alike (qa_*: is any)
    strict      the candidates in the reply (numbers, UUIDs, capitals, else the items of its list) are exactly the
                references; what the question itself names does not count as a candidate

Source: RULER (arXiv 2404.06654) `string_match_all` and `string_match_part`; NVIDIA-NeMo/Gym, `resources_servers/ruler`.
"""

from __future__ import annotations

import re

from environments.long_context_qa.answers import OPEN_CHARS, folded, items
from environments.long_context_qa.grading import MARKER, Graded

_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_SHAPES = (
    (re.compile(r"\d{4,}"), re.compile(r"(?<![\w-])\d{4,}(?![\w-])")),
    (re.compile(_UUID, re.IGNORECASE), re.compile(_UUID, re.IGNORECASE)),
    (re.compile(r"[A-Z]{4,8}"), re.compile(r"(?<![A-Za-z])[A-Z]{4,8}(?![A-Za-z])")),
)
"""What all references look like, and how candidates of that look are found."""

_NUMBERED = re.compile(r"(?:^|\s)\d{1,2}[.)]\s+")
_QUESTION = re.compile(r".*\b(?:What|Which|Find|Question)\b", re.DOTALL)
QUESTION_CHARS = 600
"""The end of the prompt, in which the question is."""


def published(outputs: list[str], subset: str, text: str) -> float:
    """The public reward; `text` is all output text."""
    said = text.strip().lower()
    hits = [float(output.lower() in said) for output in outputs]
    return max(hits) if subset.startswith("qa") else sum(hits) / len(hits)


def strict(outputs: list[str], subset: str, text: str, prompt: str) -> Graded:
    """The verdict on a reply without its thinking."""
    text = text.strip()
    if not text:
        return Graded(0.0, "empty")
    if len(text) > 100 * OPEN_CHARS:
        return Graded(0.0, "a reply of too many characters")
    if subset.startswith("qa"):
        return _question(outputs, text)
    for whole, part in _SHAPES:
        if all(whole.fullmatch(output) for output in outputs):
            wanted = {output.lower() for output in outputs}
            named = {found.lower() for found in part.findall(_asked(prompt))} - wanted
            return _compared({found.lower() for found in part.findall(text)} - named, wanted)
    said = _NUMBERED.sub("\n", _after_marker(text))
    listed = items(said)
    if len(listed) != len(set(listed)):
        return Graded(0.0, "an item twice")
    return _compared(set(listed), {folded(output) for output in outputs})


def _question(outputs: list[str], text: str) -> Graded:
    said = _after_marker(text)
    if folded(said) in {folded(output) for output in outputs}:
        return Graded(1.0, "exact answer")
    near = len(said) <= OPEN_CHARS and any(folded(output) in folded(said) for output in outputs)
    return Graded(0.0, "the answer among words" if near else "not this answer", open=said if near else "")


def _compared(given: set[str], wanted: set[str]) -> Graded:
    if given == wanted:
        return Graded(1.0, "exactly the references")
    return Graded(0.0, "a reference is missing" if wanted - given else "more than the references")


def _after_marker(text: str) -> str:
    """What follows the last `Answer:`, or the colon of a sentence that introduces the answer; else all of it."""
    lines = text.splitlines()
    for number in range(len(lines) - 1, -1, -1):
        if found := MARKER.match(lines[number]):
            return "\n".join([lines[number][found.end() :], *lines[number + 1 :]])
    head, colon, rest = text.partition(":")
    return rest if colon and "\n" not in head and rest.strip() else text


def _asked(prompt: str) -> str:
    """The question at the end of a prompt: from its last question word on, in its last line."""
    line = (prompt.rstrip().splitlines() or [""])[-1][-QUESTION_CHARS:]
    start = _QUESTION.match(line)
    return line[start.end() :] if start else line
