"""Sentences as the public checkers cut them: Punkt (Kiss & Strunk 2006, Computational Linguistics 32), untrained.

    every . ? ! before white space or a sign ─▶ the word that it ends, and the next ─▶ first pass: abbreviation,
    ellipsis or end ─▶ second pass: initials, ordinals, what the next word looks like ─▶ closing quotes go left

The public model learned its abbreviations and how words are written from newspapers and is not shipped here; our own
short lists stand in for both, so verdicts built on this are approximate. Strict verdicts use `text.sentences`. Unlike
it, this knows no lines, lists or headings: `Title\\n\\nText.` is one sentence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

from environments.instruction_following.verifiers.vocabulary import STOP_WORDS

_MARKS = ".?!"
_CLOSING = "\"')]}‘’“”«»"
_SIGNS = r"[)\";}\]*:@'({\[‘’“”«»?!]"
_RUNS = r"(?:-{2,}|\.{2,}|(?:\.\s){2,}\.)"
_CANDIDATE = re.compile(rf"[.?!](?=(?P<sign>{_SIGNS})|\s+(?P<next>\S+))")
_TOKEN = re.compile(
    rf"{_RUNS}|(?=[^(\"`{{\[:;&#*@)}}\]\-,])\S+?(?=\s|$|{_SIGNS}|{_RUNS}|,(?=$|\s|{_SIGNS}|{_RUNS}))|\S"
)
_TAIL = re.compile(rf"[{re.escape(_CLOSING)}]+?(?:\s+|(?=--)|$)", re.MULTILINE)
_NUMBER = re.compile(r"-?[.,]?\d[\d,.\-]*\.?\Z")
_INITIAL = re.compile(r"[^\W\d]\.\Z")
_ELLIPSIS = re.compile(r"\.\.+\Z")

_SHORT_FORMS = """
mr mrs ms dr prof sr jr st vs inc ltd co corp col lt sen rep reps gen maj adm jan feb aug sept sep oct nov dec ft tues
wed fri a.m p.m u.s u.k u.n u.s.a d.c ph.d a.d ave bros c d e f g h k l m n p r s t v w
"""
_ABBREVIATIONS = frozenset(_SHORT_FORMS.split())
"""Single letters among them never end a sentence: the public model took list letters for initials."""

_OPENING_WORDS = """
although among being both but despite does even he her here however if in indeed instead into it many meanwhile
moreover most nevertheless nor same since so some such the there these they this though through thus under very when
which while yet your
"""
_OPENERS = frozenset(_OPENING_WORDS.split())
"""Words that show a new sentence by their capital, even behind an abbreviation or an ellipsis."""


def punkt_sentences(text: str) -> list[str]:
    """Never empty strings; white space between sentences belongs to none."""
    return list(_sentences(text))


@lru_cache(maxsize=8)  # the constraints of one task all ask about the same text
def _sentences(text: str) -> tuple[str, ...]:
    spans = list(_slices(text))
    found, moved = [], 0
    for (start, stop), following in zip(spans, [*spans[1:], None], strict=True):
        start += moved
        moved = 0
        if following is not None:
            tail = _TAIL.match(text[following[0] : following[1]])
            if tail:
                stop, moved = following[0] + len(tail[0].rstrip()), tail.end()
        if text[start:stop]:
            found.append(text[start:stop])
    return tuple(found)


def _slices(text: str) -> Iterator[tuple[int, int]]:
    start = 0
    for mark, context in _candidates(text):
        if _breaks(context):
            yield start, mark.end()
            start = mark.start("next") if mark["next"] else mark.end()
    yield start, len(text.rstrip())


def _candidates(text: str) -> Iterator[tuple[re.Match[str], str]]:
    """Marks that may end a sentence, only the last one of each word, with that word and what follows it."""
    found: list[tuple[re.Match[str], int, int]] = []
    start = stop = 0
    for mark in _CANDIDATE.finditer(text):
        space = _last_space(text[stop : mark.start()])
        start = stop + space + 1 if space else start
        stop = mark.start()
        if found and found[-1][2] > start:
            found.pop()
        found.append((mark, start, stop))
    for mark, start, stop in found:
        following = text[mark.end() : mark.end("next")] if mark["next"] else mark["sign"]
        yield mark, text[start:stop] + mark[0] + following


def _last_space(text: str) -> int:
    return next((at for at in range(len(text) - 1, -1, -1) if text[at] in " \t\n\r\x0b\x0c"), 0)


def _breaks(context: str) -> bool:
    """True where a token of the context ends a sentence and another one follows."""
    tokens = [token for line in context.split("\n") for token in _TOKEN.findall(line)]
    return any(_ends(token, following) for token, following in pairwise(tokens))


def _ends(token: str, following: str) -> bool:
    if token in _MARKS:
        return True
    if not token.endswith("."):
        return False
    ellipsis = _ELLIPSIS.match(token) is not None
    bare = token[:-1].lower()
    known = bare in _ABBREVIATIONS or bare.rpartition("-")[2] in _ABBREVIATIONS
    end = not ellipsis and not token.endswith("..") and not known
    initial = _INITIAL.match(token) is not None
    opener = _opens(following)
    if (ellipsis or known) and not initial and opener is True:
        return True
    if initial or _NUMBER.match(token):
        if opener is False:
            return False
        if opener is None and initial and following[0].isupper() and following.lower() not in STOP_WORDS:
            return False
    return end


def _opens(token: str) -> bool | None:
    """Whether a token looks like the first of a sentence; None where its looks do not tell."""
    if token in (";", ":", ",", ".", "!", "?"):
        return False
    if token[0].isupper() and token.lower().rstrip(".") in _OPENERS:
        return True
    return False if token[0].islower() else None
