"""Signs put around words: titles, highlights, placeholders, brackets, and hyphens between sentences."""

from __future__ import annotations

import re
from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.ruled import ruled_sentences
from environments.instruction_following.verifiers.text import has_word, sentences, words
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

_STARS = re.compile(r"\*+")
_PUBLISHED_HIGHLIGHT = re.compile(r"\*[^\n*]*\*")
_PUBLISHED_DOUBLE = re.compile(r"\*\*[^\n*]*\*\*")
_JOINED = re.compile(r"(?<![.!?])[.!?]++(?=-)")


@register
class Title(Constraint):
    """Something to read between `<<` and `>>` on one line."""

    id = "detectable_format:title"

    def describe(self, given: Kwargs) -> str:
        return "Your answer must contain a title, wrapped in double angular brackets, such as <<poem of joy>>."

    def check(self, text: str, given: Kwargs) -> bool:
        return any(has_word(inner) for inner in _between(text, "<<", ">>"))

    def published(self, text: str, given: Kwargs) -> bool:
        for line in text.split("\n"):
            start, end = line.find("<<"), line.rfind(">>")
            if 0 <= start < end - 2 and line[start : end + 2].lstrip("<").rstrip(">").strip():
                return True
        return False

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.title = True

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace("<<", "").replace(">>", "")]


@register
class Placeholders(Constraint):
    """At least so many `[placeholder]`s with a word in each; as published, `[]` is one."""

    id = "detectable_content:number_placeholders"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"num_placeholders": kinds.count}

    def describe(self, given: Kwargs) -> str:
        return (
            f"The response must contain at least {given['num_placeholders']} placeholders represented by square "
            "brackets, such as [address]."
        )

    def sample(self, draw: Draw) -> Kwargs:
        return {"num_placeholders": draw.count(1, 6)}

    def check(self, text: str, given: Kwargs) -> bool:
        return sum(has_word(inner) for inner in _between(text, "[", "]")) >= given["num_placeholders"]

    def published(self, text: str, given: Kwargs) -> bool:
        return len(_between(text, "[", "]")) >= given["num_placeholders"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.num_placeholders = given["num_placeholders"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace("[", "").replace("]", "")]


def _between(text: str, opening: str, closing: str) -> list[str]:
    """What stands between an opening and the next closing sign of the same line."""
    found = []
    for line in text.split("\n"):
        start = line.find(opening)
        while start >= 0:
            end = line.find(closing, start + len(opening))
            if end < 0:
                break
            found.append(line[start + len(opening) : end])
            start = line.find(opening, end + len(closing))
    return found


@register
class Highlights(Constraint):
    """At least so many `*highlighted*` places; the stars stand tight around something to read."""

    id = "detectable_format:number_highlighted_sections"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"num_highlights": kinds.count}

    def describe(self, given: Kwargs) -> str:
        return (
            f"Highlight at least {given['num_highlights']} sections in your answer with markdown, i.e. "
            "*highlighted section*."
        )

    def sample(self, draw: Draw) -> Kwargs:
        return {"num_highlights": draw.count(1, 6)}

    def check(self, text: str, given: Kwargs) -> bool:
        return sum(map(_num_highlights, text.split("\n"))) >= given["num_highlights"]

    def published(self, text: str, given: Kwargs) -> bool:
        single = sum(bool(found.strip("*").strip()) for found in _PUBLISHED_HIGHLIGHT.findall(text))
        double = sum(bool(found[2:-2].strip()) for found in _PUBLISHED_DOUBLE.findall(text))
        return single + double >= given["num_highlights"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.num_highlights = given["num_highlights"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        without = text.replace("\n* ", "\n\x00")  # bullets and dividers are stars too, and stay
        without = _STARS.sub(lambda run: run[0] if len(run[0]) == 3 else "", without)
        return [without.replace("\x00", "* ")]


def _num_highlights(line: str) -> int:
    """Pairs of equal runs of stars that touch what they enclose."""
    count, opened = 0, None
    for run in _STARS.finditer(line):
        if opened is not None and len(opened[0]) == len(run[0]):
            inner = line[opened.end() : run.start()]
            if inner and not inner[0].isspace() and not inner[-1].isspace() and has_word(inner):
                count, opened = count + 1, None
                continue
        opened = run
    return count


@register
class SquareBrackets(Constraint):
    """Every word in brackets of its own."""

    id = "detectable_format:square_brackets"
    solo = True

    def describe(self, given: Kwargs) -> str:
        return "Enclose every word in your response within square brackets."

    def check(self, text: str, given: Kwargs) -> bool:
        return all(_bracketed(token) for token in text.split())

    def published(self, text: str, given: Kwargs) -> bool:
        return all(token.startswith("[") and token.endswith("]") for token in text.split())

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return " ".join(f"[{word}]" for word in [*draw.rng.sample(FILLER, 3), *keywords])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}"]


def _bracketed(token: str) -> bool:
    inner = token[1:-1]
    around = token.startswith("[") and token.endswith("]")
    return around and has_word(inner) and "[" not in inner and "]" not in inner


@register
class BigramWrapping(Constraint):
    """The whole reply as `<<two words>> <<two words>>`; a last odd word is wrapped alone."""

    id = "detectable_format:bigram_wrapping"
    solo = True

    def describe(self, given: Kwargs) -> str:
        return "Wrap every word bigram in double angular brackets, such as <<I am>> <<at home>>."

    def check(self, text: str, given: Kwargs) -> bool:
        found = text.split()
        pairs = [found[at : at + 2] for at in range(0, len(found), 2)]
        return all(
            " ".join(pair).startswith("<<")
            and " ".join(pair).endswith(">>")
            and all(has_word(word) for word in pair)
            and " ".join(pair).count("<<") == " ".join(pair).count(">>") == 1
            for pair in pairs
        )

    def published(self, text: str, given: Kwargs) -> bool:
        found = text.split()
        starts, ends = found[0 : len(found) - 1 : 2], found[1::2]
        return all(a.startswith("<<") and b.endswith(">>") for a, b in zip(starts, ends, strict=True))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        chosen = [*keywords, *draw.rng.sample(FILLER, 4 + len(keywords) % 2)]
        return " ".join(f"<<{a} {b}>>" for a, b in zip(chosen[::2], chosen[1::2], strict=True))

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{NOT_EVEN_A_WORD} {text}"]


@register
class SentenceHyphens(Constraint):
    """At least two sentences, joined by hyphens without any space: `One.-Two.`"""

    id = "detectable_format:sentence_hyphens"
    solo = True

    def describe(self, given: Kwargs) -> str:
        return "Write several sentences; all of them must be connected using hyphens, with no spaces between them."

    def check(self, text: str, given: Kwargs) -> bool:
        pieces = _JOINED.sub(lambda end: end[0] + "\n", text.strip()).split("\n-")
        single = all(piece == piece.strip() and len(sentences(piece)) == 1 and "\n" not in piece for piece in pieces)
        return len(pieces) >= 2 and single

    def published(self, text: str, given: Kwargs) -> bool:
        pieces, gold = text.split("-"), ruled_sentences(text.replace("-", " "))
        return all(piece == piece.strip() == want for piece, want in zip(pieces, gold, strict=False))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        made = [" ".join(draw.rng.sample(FILLER, 3)).capitalize() + "." for _ in range(2)]
        extra = [f"Look {keyword}." for keyword in keywords]
        return "-".join([*made, *extra])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.replace(".-", ". - ", 1), " ".join(words(text))]
