"""Words as the public checkers tokenize them: the Penn Treebank conventions, sentence by sentence.

Punctuation marks are tokens of their own, `don't` is `do n't`, `3,000` and `e.g.` stay whole, and the full stop of a
sentence is cut off only at its end. Opening double quotes become two backquotes, closing ones two apostrophes.
"""

from __future__ import annotations

import re
from functools import lru_cache

from environments.instruction_following.verifiers.punkt import punkt_sentences

_CUT = r"\s\[\](){}<>?!;@#$%&*«»“”‘’„\"`‒–—―"
_PIECES = re.compile(rf"\.{{2,}}|--|``?|''|[{_CUT[2:]}]|[:,](?!\d)|(?:(?!\.{{2,}}|--|'')[^{_CUT}:,]|[:,](?=\d))+")
_END = re.compile(r"(?<=[^.])\.([\])}>\"'»”’ ]*)\Z")
_POSSESSED = re.compile(r"(?<=[^' ])(?:'[sSmMdD]|')\Z")
_NEGATED = re.compile(r"(?<=[^' ])(?:'ll|'LL|'re|'RE|'ve|'VE|n't|N'T)\Z")
_OPENING = re.compile(r"'(?=\w)(?!(?:re|ve|ll|m|t|s|d|n)\b)", re.IGNORECASE)
_MERGED = {
    "cannot": 3, "gimme": 3, "gonna": 3, "gotta": 3, "lemme": 3, "wanna": 3, "d'ye": 1, "more'n": 4,
    "'tis": 2, "'twas": 2,
}  # fmt: skip
"""Where two words were run together, by the length of the first one."""


def treebank_words(text: str) -> list[str]:
    return list(_of_text(text))


@lru_cache(maxsize=8)  # the constraints of one task all ask about the same text
def _of_text(text: str) -> tuple[str, ...]:
    return tuple(token for sentence in punkt_sentences(text) for token in _tokens(sentence))


def _tokens(sentence: str) -> list[str]:
    body, tail = sentence.rstrip(), ""
    end = _END.search(body)
    if end:
        body, tail = body[: end.start()], end[1]
    found: list[str] = []
    for chunk in body.split():
        before = ""
        for piece in _PIECES.findall(chunk):
            if piece == '"':
                found.append("``" if before in ("", "(", "[", "{", "<") else "''")
            else:
                found += _words(piece)
            before = piece
    if end:
        found += [".", *("''" if sign == '"' else sign for sign in tail if sign != " ")]
    return found


def _words(piece: str) -> list[str]:
    cut = _MERGED.get(piece.lower())
    if cut:
        return [piece[:cut], piece[cut:]]
    if _OPENING.match(piece):
        return ["'", *_ends_cut(piece[1:])]
    return _ends_cut(piece)


def _ends_cut(piece: str) -> list[str]:
    found: list[str] = []
    for ending in (_POSSESSED, _NEGATED):
        tail = ending.search(piece)
        if tail:
            found.insert(0, tail[0])
            piece = piece[: tail.start()]
    return [piece, *found]
