"""Words and figures of a text, so that spelling, punctuation and emphasis around them do not count."""

from __future__ import annotations

import re
from collections import Counter

_SMALL = """
    a about an and any are as at be been before but by can could did do does for from had has have help how i if in
    is it its just like may me more my need no not of on once one or our out please proceed so some thank thanks
    that the their them then there these they this those to up us was we were what when which will with would yes
    you your ll ve re don didn let here
"""
SMALL = frozenset(_SMALL.split())
"""Words that say nothing of what a sentence is about."""
_TOKEN = re.compile(r"[^\W_](?:[\w.,:/+#%@-]*[\w%+])?")
_NUMBER = re.compile(r"([0-9]+)(?:\.([0-9]*))?")


def tokens(text: str) -> list[str]:
    """Words, amounts, dates and ids in order, each in one spelling."""
    return [_one_spelling(found.group()) for found in _TOKEN.finditer(text)]


def content_words(text: str) -> Counter[str]:
    """The tokens that say what a text is about."""
    return Counter(token for token in tokens(text) if token not in SMALL)


def figures(text: str) -> Counter[str]:
    """The tokens with a digit: amounts, dates, ids. `$1,200.00` and `1200` are the same."""
    return Counter(token for token in tokens(text) if any(map(str.isdigit, token)))


def holds(said: list[str], phrase: str) -> bool:
    """Whether the words of a phrase follow each other in these tokens."""
    wanted = tokens(phrase)
    return any(said[start : start + len(wanted)] == wanted for start in range(len(said) - len(wanted) + 1))


def likeness(one: Counter[str], other: Counter[str]) -> float:
    """2 · common / words of both, counted with repetition, in 0..1."""
    total = one.total() + other.total()
    return 2 * (one & other).total() / total if total else 0.0


def _one_spelling(token: str) -> str:
    token = token.casefold()
    number = _NUMBER.fullmatch(token.replace(",", ""))
    if number is None:
        return token
    whole, fraction = number[1].lstrip("0") or "0", (number[2] or "").rstrip("0")
    return f"{whole}.{fraction}" if fraction else whole
