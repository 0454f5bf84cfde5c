"""How long a reply is and how it is divided: sentences, words, paragraphs."""

from __future__ import annotations

import re
from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import (
    AT_LEAST,
    LESS_THAN,
    Constraint,
    Draw,
    Kwargs,
    register,
    related,
)
from environments.instruction_following.verifiers.punkt import punkt_sentences
from environments.instruction_following.verifiers.text import (
    blocks,
    divided,
    edge,
    has_word,
    sentences,
    words,
)
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import NOT_EVEN_A_WORD

_PUBLISHED_WORD = re.compile(r"\w+")
_PUBLISHED_DIVIDER = re.compile(r"\s?\*\*\*\s?")
_STOPS = frozenset(".,?!'\"")


@register
class NumberSentences(Constraint):
    """At least, or less than, so many sentences."""

    id = "length_constraints:number_sentences"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"num_sentences": kinds.count, "relation": kinds.relation}
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return f"Your response should contain {given['relation']} {given['num_sentences']} sentences."

    def sample(self, draw: Draw) -> Kwargs:
        relation = draw.relation()
        number = draw.count(2, 8) if relation == AT_LEAST else 13 - draw.count(1, 5)
        return {"num_sentences": number, "relation": relation}

    def check(self, text: str, given: Kwargs) -> bool:
        return related(len(sentences(text)), given["relation"], given["num_sentences"])

    def published(self, text: str, given: Kwargs) -> bool:
        return related(len(punkt_sentences(text)), given["relation"], given["num_sentences"])

    def shape(self, plan: Plan, given: Kwargs) -> None:
        if given["relation"] == AT_LEAST:
            plan.num_sentences = max(plan.num_sentences, given["num_sentences"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        if given["relation"] == LESS_THAN:
            return [text + f" {NOT_EVEN_A_WORD}." * given["num_sentences"]]
        return [" ".join(words(text))]


@register
class NumberWords(Constraint):
    """At least, or less than, so many words."""

    id = "length_constraints:number_words"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"num_words": kinds.count, "relation": kinds.relation}

    def describe(self, given: Kwargs) -> str:
        return f"Answer with {given['relation']} {given['num_words']} words."

    def sample(self, draw: Draw) -> Kwargs:
        relation = draw.relation()
        number = draw.count(8, 60) if relation == AT_LEAST else 140 - draw.count(1, 60)
        return {"num_words": number, "relation": relation}

    def check(self, text: str, given: Kwargs) -> bool:
        return related(len(words(text)), given["relation"], given["num_words"])

    def published(self, text: str, given: Kwargs) -> bool:
        return related(len(_PUBLISHED_WORD.findall(text)), given["relation"], given["num_words"])

    def shape(self, plan: Plan, given: Kwargs) -> None:
        if given["relation"] == AT_LEAST:
            plan.num_words = given["num_words"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        if given["relation"] == LESS_THAN:
            return [text + f" {NOT_EVEN_A_WORD}" * given["num_words"]]
        return [words(text)[0]]


class _Divided(Constraint):
    """So many paragraphs, with lines of `***` between them."""

    def check(self, text: str, given: Kwargs) -> bool:
        parts = divided(text)
        return len(parts) == self.number(given) and all(has_word(part) for part in parts)

    def published(self, text: str, given: Kwargs) -> bool:
        return _published_parts(_PUBLISHED_DIVIDER.split(text)) == self.number(given)

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.num_paragraphs, plan.divider = self.number(given), "\n***\n"

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text}\n***\n{NOT_EVEN_A_WORD}"]

    def number(self, given: Kwargs) -> int:
        return 2


def _published_parts(parts: list[str]) -> int:
    """Parts as the public checkers count them: empty ones forgiven at the ends, fatal within; -1 for the latter."""
    if any(not part.strip() for part in parts[1:-1]):
        return -1
    ends = {0, len(parts) - 1}
    return len(parts) - sum(not parts[number].strip() for number in ends)


@register
class NumberParagraphs(_Divided):
    id = "length_constraints:number_paragraphs"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"num_paragraphs": kinds.positive}

    def describe(self, given: Kwargs) -> str:
        return f"There should be {given['num_paragraphs']} paragraphs, separated by the markdown divider: ***"

    def sample(self, draw: Draw) -> Kwargs:
        return {"num_paragraphs": draw.count(2, 6)}

    def number(self, given: Kwargs) -> int:
        return given["num_paragraphs"]


@register
class TwoDivided(_Divided):
    """Two paragraphs, with a line of `***` between them."""

    id = "paragraphs:paragraphs"

    def describe(self, given: Kwargs) -> str:
        return "There should be 2 paragraphs, separated by the markdown divider: ***"


@register
class TwoBlocks(Constraint):
    """Two paragraphs with a blank line between them."""

    id = "paragraphs:paragraphs2"

    def describe(self, given: Kwargs) -> str:
        return "There should be 2 paragraphs, separated by a blank line and nothing else."

    def check(self, text: str, given: Kwargs) -> bool:
        parts = blocks(text)
        return len(parts) == 2 and all(has_word(part) for part in parts)

    def published(self, text: str, given: Kwargs) -> bool:
        return _published_parts(text.split("\n\n")) == 2

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.num_paragraphs, plan.divider = 2, "\n\n"

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text}\n\n{NOT_EVEN_A_WORD}"]


@register
class NthParagraph(Constraint):
    """So many paragraphs between blank lines, the n-th starting with a word."""

    id = "length_constraints:nth_paragraph_first_word"
    arguments: ClassVar[dict[str, kinds.Kind]] = {
        "num_paragraphs": kinds.positive,
        "nth_paragraph": kinds.positive,
        "first_word": kinds.word,
    }
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return (
            f"There should be {given['num_paragraphs']} paragraphs, separated by blank lines and nothing else; "
            f"paragraph {given['nth_paragraph']} must start with the word {given['first_word']}."
        )

    def sample(self, draw: Draw) -> Kwargs:
        number = draw.count(2, 5)
        return {"num_paragraphs": number, "nth_paragraph": draw.rng.randint(1, number), "first_word": draw.word()}

    def check(self, text: str, given: Kwargs) -> bool:
        parts = blocks(text)
        if len(parts) != given["num_paragraphs"] or given["nth_paragraph"] > len(parts):
            return False
        first = parts[given["nth_paragraph"] - 1].split()[0]
        return all(has_word(part) for part in parts) and edge(first) == given["first_word"].casefold()

    def published(self, text: str, given: Kwargs) -> bool:
        parts = text.split("\n\n")
        number, nth = sum(bool(part.strip()) for part in parts), given["nth_paragraph"]
        if nth > number or not parts[nth - 1].strip():
            return False
        first = parts[nth - 1].split()[0].lstrip("'").lstrip('"')
        stop = next((at for at, letter in enumerate(first) if letter in _STOPS), len(first))
        return number == given["num_paragraphs"] and first[:stop].lower() == given["first_word"].lower()

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.num_paragraphs, plan.divider = given["num_paragraphs"], "\n\n"
        plan.paragraph_first = (given["nth_paragraph"], given["first_word"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        parts = text.split("\n\n")
        changed = [
            f"{NOT_EVEN_A_WORD} {part}" if number == given["nth_paragraph"] else part
            for number, part in enumerate(parts, 1)
        ]
        return ["\n\n".join(changed)]
