"""From a reply to a candidate: its last Lean block, without the header it repeats, split at the pinned theorem.

    reply ─▶ block ─▶ without comments ─▶ header lines off ─▶ helpers | theorem NAME … := | proof
                                                                       └── word by word the pinned one, or refused

A block without the theorem is its proof alone: `by …`, `:= …`, or tactics.
"""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass

from environments.lean_proofs.lexer import Token, Unclosed, strip_comments, tokens
from environments.lean_proofs.screen import MAX_CHARACTERS, refusal
from environments.lean_proofs.statement import KEYWORDS, Pinned

_FENCE = re.compile(r"^[ \t]*```[ \t]*(?P<language>[A-Za-z0-9]*)[^\n]*$", re.MULTILINE)
_LANGUAGES = ("lean4", "lean", "lean3", "")


@dataclass(slots=True, frozen=True)
class Candidate:
    """Helpers before the theorem, and what follows its `:=`; or why it is refused."""

    prelude: str = ""
    proof: str = ""
    refused: str = ""


def read_candidate(text: str, pinned: Pinned) -> Candidate:
    """What this reply proposes for the pinned theorem; refused where it may not be compiled. Never raises."""
    code = lean_block(text)
    if not code.strip():
        return Candidate(refused="there is no Lean in the reply")
    if len(code) > MAX_CHARACTERS:
        return Candidate(refused=f"longer than {MAX_CHARACTERS} characters")
    try:
        code = _without_header(strip_comments(code.expandtabs(2)), pinned)
    except Unclosed as error:
        return Candidate(refused=str(error))
    found = _split(code, pinned)
    if found.refused:
        return found
    if found.proof.strip() in ("", "by"):
        return Candidate(refused="there is no proof")
    return Candidate(found.prelude, found.proof, refusal(found.prelude, found.proof))


def lean_block(text: str) -> str:
    """The last fenced block of Lean (`lean4`, `lean`, `lean3`, or bare); all of the text where there is no fence."""
    fences = list(_FENCE.finditer(text))
    if not fences:
        return text
    blocks: dict[str, str] = {}
    place = 0
    while place < len(fences):
        opened = fences[place]
        closing = fences[place + 1].start() if place + 1 < len(fences) else len(text)
        blocks[opened["language"].lower()] = text[opened.end() : closing].strip("\n")
        place += 2
    return next((blocks[language] for language in _LANGUAGES if language in blocks), "")


def _without_header(code: str, pinned: Pinned) -> str:
    """The code without the lines of the pinned header that stand at its beginning."""
    known = {" ".join(line.split()) for line in pinned.header.splitlines()}
    lines = code.splitlines()
    first = 0
    while first < len(lines) and (not lines[first].strip() or " ".join(lines[first].split()) in known):
        first += 1
    return "\n".join(lines[first:])


def _split(code: str, pinned: Pinned) -> Candidate:
    found = tokens(code)
    heads = [number for number, token in enumerate(found) if token.text in KEYWORDS and token.kind == "name"]
    own = [number for number in heads if number + 1 < len(found) and found[number + 1].text == pinned.name]
    if not own:
        if heads:
            return Candidate(refused=f"the block proves something else than `{pinned.name}`")
        return Candidate(proof=_bare_proof(code, found))
    if len(own) > 1:
        return Candidate(refused=f"`{pinned.name}` is stated more than once")
    start = own[0]
    wanted = pinned.words
    end = start + len(wanted)
    if [token.text for token in found[start:end]] != wanted or end >= len(found) or found[end].text != ":=":
        return Candidate(refused="the statement is not the one that was given")
    return Candidate(code[: found[start].start].rstrip(), code[found[end].start + 2 :].rstrip())


def _bare_proof(code: str, found: list[Token]) -> str:
    """A proof without its theorem: after `:=`, a term `by …`, or bare tactics."""
    if not found:
        return ""
    if found[0].text == ":=":
        return code[found[0].start + 2 :].rstrip()
    if found[0].text in ("by", "fun") or found[0].text in "⟨(@":
        return " " + code[found[0].start :].rstrip()
    return " by\n" + textwrap.indent(textwrap.dedent(code).strip("\n").rstrip(), "  ")
