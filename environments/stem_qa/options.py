"""The options of a row and what both gradings read from texts: boxes, wrappers, folded texts."""

from __future__ import annotations

from typing import Any

BOX = "\\boxed{"
_TEXT = "\\text{"

Options = list[tuple[str, str]]
"""Letter (upper case) and text of each option, in the order of the row."""


def read_options(entries: Any) -> Options:
    """Letters and texts of `[{"A": "…"}, {"B": "…"}]`, null padding dropped; keys that are no letter are no options."""
    return [
        (key.upper(), text)
        for entry in entries or ()
        for key, text in entry.items()
        if len(key) == 1 and key.isalpha() and text is not None
    ]


def last_box(text: str) -> str | None:
    r"""What stands in the last `\boxed{…}`, braces balanced; None where there is none or it never closes."""
    start = text.rfind(BOX)
    if start < 0:
        return None
    start += len(BOX)
    depth = 1
    for position in range(start, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return text[start:position]
    return None


def unwrapped(text: str) -> str:
    r"""Without any `\text{…}` around the whole of it, one inside the other."""
    while text.startswith(_TEXT) and text.endswith("}"):
        text = text[len(_TEXT) : -1].strip()
    return text


def folded(text: str) -> str:
    """Lower case, single spaces."""
    return " ".join(text.lower().split())
