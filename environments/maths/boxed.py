r"""The last `\boxed{…}` of a reply: where the final answer is, and nowhere else."""

from __future__ import annotations

import re

_OPENING = re.compile(r"\\boxed\s*\{")


def last_boxed(text: str) -> str | None:
    r"""Content of the last `\boxed{…}`, or None when there is none or its braces never close.

    A last box that never closes is no answer, even where an earlier one did: the reply was cut while it changed its
    mind. Escaped braces (`\{`) do not count.
    """
    openings = list(_OPENING.finditer(text))
    if not openings:
        return None
    start = openings[-1].end()
    end = closing(text, start)
    return None if end < 0 else text[start:end]


def closing(text: str, start: int) -> int:
    """Index of the brace that closes the group whose content begins at `start`, or -1."""
    depth = 1
    position = start
    while position < len(text):
        character = text[position]
        if character == "\\":
            position += 2
            continue
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                return position
        position += 1
    return -1
