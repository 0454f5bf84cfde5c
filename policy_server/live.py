"""The part of a reply that can be shown before the reply is whole, told apart as `model.parsers.parse_reply` will.

    pieces of text ─▶ LiveReply ─▶ ("think" | "answer", text): what is shown is never taken back

Held back is what may turn out otherwise: a tag of which only the beginning is here, line breaks that may be the last,
white space that may be all there is, and a tool call until it is seen whether it is well formed (then it is no text).
"""

from __future__ import annotations

import re
from typing import Literal

from model.parsers import parse_reply

Kind = Literal["think", "answer"]
Shown = list[tuple[Kind, str]]

_THINK, _END_THINK, _CALL, _END_CALL = "<think>", "</think>", "<tool_call>", "</tool_call>"
_OPENING = re.compile(f"{_THINK}|{_CALL}")


class LiveReply:
    """Takes one sample's text in pieces. `num_shown` counts the characters of reasoning and content that are out."""

    def __init__(self, thinking_open: bool = False) -> None:
        self._thought, self._answer = _Thought(), _Answer()
        self._held = ""
        self._call: list[str] = []
        self._step = self._lead if thinking_open else self._text
        self._shown: Shown = []

    @property
    def num_shown(self) -> dict[Kind, int]:
        return {"think": self._thought.num_shown, "answer": self._answer.num_shown}

    def push(self, text: str) -> Shown:
        """What can be shown now, beyond what was shown."""
        self._held += text
        while self._step():
            pass
        shown, self._shown = self._shown, []
        return shown

    def _show(self, kind: Kind, text: str) -> None:
        if text:
            self._shown.append((kind, text))

    def _lead(self) -> bool:
        """A thought begins: engines may repeat the tag, with a line break."""
        if len(self._held) < len(_THINK) and _THINK.startswith(self._held):
            return False
        if not self._held.startswith(_THINK):
            self._step = self._think
        elif len(self._held) == len(_THINK):
            return False
        else:
            self._held = self._held.removeprefix(_THINK).removeprefix("\n")
            self._step = self._think
        return True

    def _think(self) -> bool:
        thought, end, rest = self._held.partition(_END_THINK)
        keep = 0 if end else _overhang(thought, _END_THINK)
        self._held = rest if end else thought[len(thought) - keep :]
        self._show("think", self._thought.add(thought[: len(thought) - keep]))
        if end:
            self._thought.end()
            self._step = self._text
        return bool(end)

    def _text(self) -> bool:
        found = _OPENING.search(self._held)
        at = len(self._held) - _overhang(self._held, _THINK, _CALL) if found is None else found.start()
        self._show("answer", self._answer.add(self._held[:at]))
        self._held = self._held[at:]
        if found is None:
            return False
        self._answer.end()
        self._step = self._lead if found[0] == _THINK else self._open_call
        return True

    def _open_call(self) -> bool:
        self._call = [_CALL]
        self._held = self._held.removeprefix(_CALL)
        self._step = self._in_call
        return True

    def _in_call(self) -> bool:
        inner, end, rest = self._held.partition(_END_CALL)
        keep = 0 if end else _overhang(inner, _END_CALL)
        self._call.append(inner[: len(inner) - keep] + end)
        self._held = rest if end else inner[len(inner) - keep :]
        if not end:
            return False
        block = "".join(self._call)
        if not parse_reply(block, thinking_open=False).tool_calls:  # malformed: it stays in the text
            self._show("answer", self._answer.add(block))
            self._answer.end()
        self._step = self._text
        return True


class _Thought:
    """Reasoning: thoughts that say something, one line break at their end taken off, in lines of their own."""

    def __init__(self) -> None:
        self.num_shown = 0
        self._held, self._says = "", False

    def add(self, text: str) -> str:
        text = self._held + text
        self._held = "\n" if text.endswith("\n") else ""
        text = text.removesuffix("\n")
        if text and not self._says:
            self._says = True
            text = "\n" + text if self.num_shown else text
        self.num_shown += len(text)
        return text

    def end(self) -> None:
        self._held, self._says = "", False


class _Answer:
    """Content: parts that are not all white space, without the line breaks at either end."""

    def __init__(self) -> None:
        self.num_shown = 0
        self._part, self._lines, self._says = "", "", False

    def add(self, text: str) -> str:
        if not self._says:
            self._part += text
            if not self._part.strip():
                return ""
            text, self._part, self._says = self._part, "", True
        text = self._lines + text
        text = text if self.num_shown else text.lstrip("\n")
        shown = text.rstrip("\n")
        self._lines = text[len(shown) :]
        self.num_shown += len(shown)
        return shown

    def end(self) -> None:
        self._part, self._says = "", False


def _overhang(text: str, *tags: str) -> int:
    """How many characters at the end of a text may be the beginning of one of these tags."""
    longest = min(len(text), max(map(len, tags)) - 1)
    return next((n for n in range(longest, 0, -1) if any(tag.startswith(text[-n:]) for tag in tags)), 0)
