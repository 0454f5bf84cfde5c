"""The pinned statement: what must be proved, under which header, and the digest that says it is still the same.

header              import Mathlib … open … set_option … def …        given, never the candidate's
statement           theorem NAME (binders) : type                      without `:=`
digest              blake2b over the words of both: blanks and comments do not count, anything else does
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from environments.lean_proofs.lexer import CLOSING, OPENING, Token, Unclosed, strip_comments, tokens
from gym_core.errors import BadRow

KEYWORDS = ("theorem", "lemma")
_ENDINGS = ([":="], [":=", "by"], [":=", "by", "sorry"], [":=", "sorry"])


@dataclass(slots=True, frozen=True)
class Pinned:
    """A theorem to be proved. `header` and `statement` have no comments; `statement` ends before `:=`."""

    header: str
    statement: str
    name: str

    @property
    def digest(self) -> str:
        said = [[token.text for token in tokens(part)] for part in (self.header, self.statement)]
        return hashlib.blake2b(repr(said).encode(), digest_size=16).hexdigest()

    @property
    def words(self) -> list[str]:
        """The statement word by word, keyword and name included."""
        return [token.text for token in tokens(self.statement)]

    def renamed(self, name: str) -> str:
        """The same statement as a theorem of another name."""
        found = tokens(self.statement)
        head, rest = found[1], found[2:]
        return f"theorem {name} {self.statement[rest[0].start :]}" if rest else f"theorem {name} {head.text}"

    def proved_by(self, proof: str) -> str:
        """The theorem with this proof (what follows `:=`)."""
        return f"{self.statement} :={proof if proof[:1].isspace() else ' ' + proof}"


def pin(header: str, statement: str, field: str = "formal_statement") -> Pinned:
    """A header and a statement, perhaps with its `:= by sorry`, as they are pinned.

    Raises `BadRow` for what is no theorem with a name, or states more than one thing.
    """
    try:
        header, statement = strip_comments(header), strip_comments(statement)
    except Unclosed as error:
        raise BadRow(str(error), field=field) from None
    found = tokens(statement)
    if len(found) < 4 or found[0].text not in KEYWORDS or found[1].kind != "name":
        raise BadRow("a statement is `theorem NAME … : …`", field=field, hint="an `example` has no name to pin")
    if sum(token.text in KEYWORDS for token in found) > 1:
        raise BadRow("there is more than one theorem in the statement", field=field)
    end = end_of_statement(found)
    if end is not None:
        if [token.text for token in found[end:]] not in _ENDINGS:
            raise BadRow("after `:=` the statement must be open: nothing, `by` or `by sorry`", field=field)
        statement = statement[: found[end].start]
    if not any(token.text == ":" for token in found[:end]):
        raise BadRow("the statement says no type: there is no `:` in it", field=field)
    return Pinned(header.strip() + "\n" if header.strip() else "", statement.strip(), found[1].text)


def end_of_statement(found: list[Token]) -> int | None:
    """The index of the last `:=` outside brackets that is not a `let`'s; None where there is none."""
    depth, last, lets = 0, None, 0
    for number, token in enumerate(found):
        if token.text in OPENING:
            depth += 1
        elif token.text in CLOSING:
            depth -= 1
        elif token.text in ("let", "have") and depth == 0:
            lets += 1
        elif token.text == ":=" and depth == 0:
            last = None if lets else number
            lets = max(0, lets - 1)
    return last
