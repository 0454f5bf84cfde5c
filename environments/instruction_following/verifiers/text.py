"""How a text is cut: words, sentences, paragraphs, bullets. Every function here is linear in the length of the text.

Regular expressions are constants, possessive or anchored so that no input makes them backtrack; words that come from
a row or a model are searched with `str.find`, never compiled.
"""

from __future__ import annotations

import re
from functools import lru_cache

_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")
_ENDS = re.compile(r"(?<![.!?…])[.!?…]++[\"'”’)\]»*_]*+(?=\s|\Z)|[。！？]++[”’」』]*+")
_TOKEN = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*|[^\w\s]")
_ITEM = re.compile(r"[ \t]*+(?:[*\-+•][ \t]++|#{1,6}[ \t]++|[0-9]{1,3}[.)][ \t]++)")
_BULLET = re.compile(r"[ \t]*+[*\-+•][ \t]++(?=\S)")
_SHORT_FORMS = "mr mrs ms dr prof st vs e.g i.e p.s p.p.s etc inc ltd co jr sr fig approx"
_ABBREVIATIONS = frozenset(_SHORT_FORMS.split())
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u2060\ufeff"))
DIVIDERS = ("***", "* * *")


def visible(text: str) -> str:
    """The text without characters that nobody sees: a zero-width space hides a forbidden word from no strict check."""
    return text.translate(_INVISIBLE).replace("\r\n", "\n")


def words(text: str) -> list[str]:
    """Words as people count them; punctuation is none, an inner apostrophe or hyphen joins."""
    return _WORD.findall(text)


def tokens(text: str) -> list[str]:
    """Words and single punctuation marks, close to a treebank tokenizer."""
    return _TOKEN.findall(text)


def has_word(text: str) -> bool:
    return _WORD.search(text) is not None


def edge(token: str) -> str:
    """A token without the punctuation around it, for comparing: `"Stone."` is `stone`."""
    start, end = 0, len(token)
    while start < end and not token[start].isalnum():
        start += 1
    while end > start and not token[end - 1].isalnum():
        end -= 1
    return token[start:end].casefold()


def count_phrase(text: str, phrase: str) -> int:
    """Whole-word, case-blind occurrences; any white space in the text matches a space of the phrase."""
    haystack = " ".join(text.casefold().split())
    needle = " ".join(phrase.casefold().split())
    if not needle:
        return 0
    count, at = 0, haystack.find(needle)
    while at >= 0:
        end = at + len(needle)
        inside_before = needle[0].isalnum() and at > 0 and haystack[at - 1].isalnum()
        inside_after = needle[-1].isalnum() and end < len(haystack) and haystack[end].isalnum()
        if inside_before or inside_after:
            at = haystack.find(needle, at + 1)
        else:
            count += 1
            at = haystack.find(needle, end)
    return count


def sentences(text: str) -> list[str]:
    """Sentences: split at `.!?…` before white space, at blank lines, dividers, list items and headings.

    Abbreviations, initials and numbers with a decimal point do not end one; a piece without a word is none.
    """
    return list(_cut(text))


@lru_cache(maxsize=8)  # the constraints of one task all ask about the same text
def _cut(text: str) -> tuple[str, ...]:
    return tuple(piece for piece in pieces(text) if has_word(piece))


def pieces(text: str) -> list[str]:
    """Sentences and what is left between them: marks and signs without a word."""
    return [piece for block in _blocks_of_prose(text) for piece in _split(block)]


def _blocks_of_prose(text: str) -> list[str]:
    blocks: list[list[str]] = [[]]
    for line in text.split("\n"):
        stripped = line.strip()
        if not stripped or stripped in DIVIDERS:
            if blocks[-1]:
                blocks.append([])
            continue
        marker = _ITEM.match(line)
        if marker:
            blocks.append([line[marker.end() :].strip()])
        else:
            blocks[-1].append(stripped)
    return [" ".join(lines) for lines in blocks if lines]


def _split(block: str) -> list[str]:
    found, start = [], 0
    for mark in _ENDS.finditer(block):
        if mark[0] == "." and _abbreviates(block[max(start, mark.start() - 12) : mark.start()]):
            continue
        found.append(block[start : mark.end()].strip())
        start = mark.end()
    rest = block[start:].strip()
    return [*found, rest] if rest else found


def _abbreviates(before: str) -> bool:
    last = before.split()[-1:] or [""]
    token = last[0].lstrip("(\"'*“‘[")
    is_initial = len(token) == 1 and token.isupper() and token not in "IA"
    return token.lower() in _ABBREVIATIONS or is_initial


def blocks(text: str) -> list[str]:
    """Paragraphs that blank lines separate; only those with something in them."""
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            found[-1].append(line)
        elif found[-1]:
            found.append([])
    return ["\n".join(lines) for lines in found if lines]


def divided(text: str) -> list[str]:
    """Paragraphs that a line of its own, `***`, separates; empty ones at the very ends are dropped."""
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip() in DIVIDERS:
            found.append([])
        else:
            found[-1].append(line)
    parts = ["\n".join(lines).strip() for lines in found]
    if parts and not parts[0]:
        parts = parts[1:]
    if parts and not parts[-1]:
        parts = parts[:-1]
    return parts


def bullets(text: str) -> list[str]:
    """Lines that are list items: a marker, white space, and something to read."""
    return [line for line in text.split("\n") if _BULLET.match(line) and has_word(line)]


def inject(text: str, extra: str) -> str:
    """The text with something put behind its first word."""
    head, space, tail = text.partition(" ")
    return f"{head} {extra}{space}{tail}"


def swap(text: str, word: str, other: str) -> str:
    """Every whole-word occurrence replaced (ASCII case-blind)."""
    lowered, needle = text.lower(), word.lower()
    if len(lowered) != len(text) or not needle:
        return text
    pieces, start, at = [], 0, lowered.find(needle)
    while at >= 0:
        end = at + len(needle)
        alone = not (at and lowered[at - 1].isalnum()) and not (end < len(text) and lowered[end].isalnum())
        if alone:
            pieces += [text[start:at], other]
            start = end
        at = lowered.find(needle, end if alone else at + 1)
    return "".join([*pieces, text[start:]])
