"""Lean source as words: comments out, every other character accounted for.

What Lean is given later is the text *without* comments. So nothing can hide in what this scanner takes for a comment
and Lean does not: such text is gone before Lean sees it. Positions stay: a comment becomes blanks.

    strip_comments(code) ─▶ tokens(code) ─▶ Token("name", "Nat.succ_le", start, column)
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BEGIN = re.compile(r"--|/-|-/")
_BLOCK = re.compile(r"/-|-/")
_NOT_BREAK = re.compile(r"[^\n]")
_LETTER = r"(?:[^\W\d]|[₀-₉ₐ-ₜᵢ-ᵪℂ-⅏𝒜-𝖟])"
_NAME = rf"{_LETTER}(?:[\w'!?₀-₉ₐ-ₜᵢ-ᵪℂ-⅏𝒜-𝖟])*"
_TOKEN = re.compile(
    rf"(?P<space>\s+)|(?P<name>{_NAME}(?:\.{_NAME})*)|(?P<field>\.{_NAME}(?:\.{_NAME})*)|(?P<number>\d[\d_.]*\w*)"
    r"|(?P<symbol>:=|=>|←|→|↔|<;>|\.\.|.)",
    re.DOTALL,
)
OPENING, CLOSING = "([{⟨⟦⌊⌈", ")]}⟩⟧⌋⌉"


class Token(NamedTuple):
    """A word of the source. `kind` is `name`, `field` (a name after a dot), `number` or `symbol`; `column` from 0."""

    kind: str
    text: str
    start: int
    column: int

    @property
    def parts(self) -> list[str]:
        """The components of a dotted name."""
        return self.text.strip(".").split(".")


class Unclosed(ValueError):
    """A comment that begins and does not end, or ends and did not begin."""


def strip_comments(code: str) -> str:
    """The code with every comment, nested ones too, as blanks; line breaks stay. Raises `Unclosed`."""
    kept: list[str] = []
    place = 0
    while (begun := _BEGIN.search(code, place)) is not None:
        kept.append(code[place : begun.start()])
        place = _comment_end(code, begun)
        kept.append(_NOT_BREAK.sub(" ", code[begun.start() : place]))
    return "".join([*kept, code[place:]])


def _comment_end(code: str, begun: re.Match[str]) -> int:
    """Where the comment that begins here is over."""
    if begun[0] == "--":
        end = code.find("\n", begun.start())
        return len(code) if end < 0 else end
    depth = 0
    for found in _BLOCK.finditer(code, begun.start()):
        depth += 1 if found[0] == "/-" else -1
        if depth <= 0:
            break
    if depth > 0:
        raise Unclosed("a comment `/-` is never closed")
    if depth < 0:
        raise Unclosed("`-/` ends a comment that never began")
    return found.end()


def tokens(code: str) -> list[Token]:
    """The words of a text without comments, in order. Linear in its length; never raises."""
    found = []
    line_start = 0
    for match in _TOKEN.finditer(code):
        kind, text = str(match.lastgroup), match[0]
        if kind == "space":
            newline = text.rfind("\n")
            if newline >= 0:
                line_start = match.start() + newline + 1
            continue
        found.append(Token(kind, text, match.start(), match.start() - line_start))
    return found


def words(code: str) -> list[str]:
    """The texts of the tokens: the same for sources that differ in blanks and comments only. Raises `Unclosed`."""
    return [token.text for token in tokens(strip_comments(code))]


def balanced(code: list[Token]) -> bool:
    """Whether every bracket closes in order."""
    stack = []
    for token in code:
        if token.text in OPENING:
            stack.append(CLOSING[OPENING.index(token.text)])
        elif token.text in CLOSING and (not stack or stack.pop() != token.text):
            return False
    return not stack
