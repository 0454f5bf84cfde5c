"""Strict grading of generated tasks: one answer in the form that is asked for, compared exactly; thinking is gone.

reply ─▶ its `Answer:` line, the last thing it says (or its only line) ─▶ `answers.judged` ─▶ 1.0 | 0.0
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from environments.long_context_qa.answers import OPEN, RIGHT, folded, judged

MAX_CHARS = 400_000
MARKER = re.compile(r"^[\s>#*_`-]{0,8}(?:the[ \t]+)?(?:final[ \t]+)?answer[ \t*_`]{0,6}:[ \t*_`]{0,6}", re.IGNORECASE)


@dataclass(slots=True, frozen=True)
class Graded:
    """`open` is what a judge may be asked about: an answer that could be right in another form; else empty."""

    reward: float
    reason: str
    open: str = ""


def grade(answer: dict[str, Any], text: str) -> Graded:
    """The verdict on a reply's last words."""
    if not text.strip():
        return Graded(0.0, "empty")
    if len(text) > MAX_CHARS:
        return Graded(0.0, "a reply of too many characters")
    said, reason = final_answer(text)
    if said is None:
        return Graded(0.0, reason)
    result, why = judged(answer, said)
    if result == RIGHT:
        return Graded(1.0, why) if not reason else Graded(0.0, reason, open=said)
    return Graded(0.0, why, open=said if result == OPEN else "")


def final_answer(text: str) -> tuple[str | None, str]:
    """What the reply commits to, and what is wrong with how it says so ("" where nothing is).

    Several `Answer:` lines must agree, and nothing may follow the last one, save the items of a list that it opens. A
    reply of one line needs no marker. The last line of any other reply is not in the form that was asked for.
    """
    lines = [line for line in text.strip().splitlines() if line.strip()]
    marked = [
        (number, line[found.end() :].strip()) for number, line in enumerate(lines) if (found := MARKER.match(line))
    ]
    if not marked:
        return (lines[0], "") if len(lines) == 1 else (lines[-1], "no line that begins with `Answer:`")
    place, said = marked[-1]
    after = lines[place + 1 :]
    if not _bare(said):
        return ("\n".join(after), "") if after else (None, "an empty answer")
    if after:
        return None, "words after the answer"
    if len({folded(one) for _, one in marked}) > 1:
        return None, "several answers"
    return said, ""


def _bare(said: str) -> str:
    return said.strip("*_` \t")
