"""`keywords:*` about where words stand: a place in a sentence, both ends, neighbours, palindromes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.ruled import ruled_sentences
from environments.instruction_following.verifiers.text import edge, sentences, swap, words
from environments.instruction_following.verifiers.treebank import treebank_words
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import NOT_EVEN_A_WORD


@register
class Position(Constraint):
    """A keyword as the m-th word of the n-th sentence; punctuation counts as no word."""

    id = "keywords:keyword_specific_position"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"keyword": kinds.word, "n": kinds.positive, "m": kinds.positive}
    anchored = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return f"Sentence {given['n']} must have the keyword {given['keyword']} as word number {given['m']}."

    def sample(self, draw: Draw) -> Kwargs:
        return {"keyword": draw.word(), "n": draw.count(1, 4), "m": draw.count(2, 8)}

    def check(self, text: str, given: Kwargs) -> bool:
        return _at(sentences(text), given["n"], given["m"], words).casefold() == given["keyword"].casefold()

    def published(self, text: str, given: Kwargs) -> bool:
        return _at(ruled_sentences(text), given["n"], given["m"], treebank_words) == given["keyword"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.placed = (given["n"], given["m"], given["keyword"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [swap(text, given["keyword"], NOT_EVEN_A_WORD)]


def _at(found: list[str], sentence: int, position: int, cut: Callable[[str], list[str]]) -> str:
    if len(found) < sentence:
        return ""
    pieces = cut(found[sentence - 1])
    return pieces[position - 1] if len(pieces) >= position else ""


@register
class StartEnd(Constraint):
    """The same word first and last, nothing behind it, not even punctuation."""

    id = "keywords:start_end"
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return "Start and end your response with the same word, with nothing after it, not even punctuation."

    def check(self, text: str, given: Kwargs) -> bool:
        found = words(text)
        ends_bare = text.rstrip()[-1:].isalnum()
        return len(found) >= 2 and ends_bare and edge(found[0]) == edge(found[-1])

    def published(self, text: str, given: Kwargs) -> bool:
        found = treebank_words(text)
        return len(found) >= 2 and found[0].lower() == found[-1].lower()

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.first = plan.last = plan.rng.choice(("again", "still", "always"))
        plan.avoid.add(plan.first)
        plan.bare_end = True

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text}.", f"{text} {NOT_EVEN_A_WORD}"]


@register
class Palindrome(Constraint):
    """A palindrome of at least three letters, not one letter repeated; as published, "a" is one."""

    id = "keywords:palindrome"

    def describe(self, given: Kwargs) -> str:
        return "Include a palindrome in your response."

    def check(self, text: str, given: Kwargs) -> bool:
        return any(_is_palindrome(word.casefold()) for word in words(text))

    def published(self, text: str, given: Kwargs) -> bool:
        return any(token == token[::-1] for token in text.split())

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.palindrome = True

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        spoiled = text
        for word in words(text):
            if _is_palindrome(word.casefold()):
                spoiled = swap(spoiled, word, NOT_EVEN_A_WORD)
        return [spoiled]


def _is_palindrome(word: str) -> bool:
    return len(word) >= 3 and word.isalpha() and len(set(word)) > 1 and word == word[::-1]


@register
class NoAdjacent(Constraint):
    """No two neighbouring words start with consecutive letters of the alphabet."""

    id = "keywords:no_adjacent_consecutive"
    solo = True

    def describe(self, given: Kwargs) -> str:
        return "No two adjacent words may start with consecutive letters of the alphabet."

    def check(self, text: str, given: Kwargs) -> bool:
        found = words(text)
        return len(found) >= 2 and _steps([word[0].lower() for word in found])

    def published(self, text: str, given: Kwargs) -> bool:
        return _steps([token[0].lower() for token in text.split()])

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        order = sorted([*keywords, draw.word(), draw.word()], key=lambda word: word[0], reverse=True)
        return " ".join(order) + "."

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} able bear"]


def _steps(letters: list[str]) -> bool:
    return all(len(b) == 1 and ord(b) - ord(a) != 1 for a, b in pairwise(letters) if len(a) == 1)
