"""`letters:*`, `count:*` and `keywords:letter_frequency`: counting letters, and words of a kind."""

from __future__ import annotations

import re
from collections.abc import Callable
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
from environments.instruction_following.verifiers.ruled import ruled_sentences
from environments.instruction_following.verifiers.text import (
    divided,
    inject,
    sentences,
    words,
)
from environments.instruction_following.verifiers.treebank import treebank_words
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

Cut = Callable[[str], list[str]]
_PUBLISHED_LOWER = re.compile(r"\b[a-z]+\b")
_PUBLISHED_LETTER = re.compile(r"[a-zA-Z]")
_PUBLISHED_DIVIDER = re.compile(r"\s?\*\*\*\s?")


class _LetterFrequency(Constraint):
    """One letter at least, or less than, so many times, in either case."""

    arguments: ClassVar[dict[str, kinds.Kind]] = {
        "letter": kinds.letter,
        "let_frequency": kinds.count,
        "let_relation": kinds.relation,
    }

    def describe(self, given: Kwargs) -> str:
        return f"The letter {given['letter']} should appear {given['let_relation']} {given['let_frequency']} times."

    def sample(self, draw: Draw) -> Kwargs:
        if draw.relation() == AT_LEAST:
            return {
                "letter": draw.rng.choice("aeilnrst"),
                "let_frequency": draw.count(3, 30),
                "let_relation": AT_LEAST,
            }
        return {
            "letter": draw.rng.choice("bfjkmqvxz"),
            "let_frequency": 8 - draw.count(1, 4),
            "let_relation": LESS_THAN,
        }

    def check(self, text: str, given: Kwargs) -> bool:
        return related(text.lower().count(given["letter"]), given["let_relation"], given["let_frequency"])

    def shape(self, plan: Plan, given: Kwargs) -> None:
        if given["let_relation"] == AT_LEAST:
            plan.letter, plan.num_of_letter = given["letter"], given["let_frequency"]
        else:
            plan.scarce_letter = given["letter"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        letter = given["letter"]
        if given["let_relation"] == LESS_THAN:
            return [inject(text, letter * max(given["let_frequency"], 1))]
        return [text.replace(letter, "").replace(letter.upper(), "")]


@register
class LetterFrequency(_LetterFrequency):
    id = "keywords:letter_frequency"


@register
class LetterCountingOne(_LetterFrequency):
    id = "letters:letter_counting2"


@register
class LetterCounting(Constraint):
    """At least, or less than, so many letters altogether; letters of every script count, as published only a to z."""

    id = "letters:letter_counting"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"N": kinds.count, "relation": kinds.relation}

    def describe(self, given: Kwargs) -> str:
        return f"Answer with {given['relation']} {given['N']} letters."

    def sample(self, draw: Draw) -> Kwargs:
        relation = draw.relation()
        number = draw.count(30, 300) if relation == AT_LEAST else 900 - draw.count(10, 400)
        return {"N": number, "relation": relation}

    def check(self, text: str, given: Kwargs) -> bool:
        return related(sum(map(str.isalpha, text)), given["relation"], given["N"])

    def published(self, text: str, given: Kwargs) -> bool:
        return related(len(_PUBLISHED_LETTER.findall(text)), given["relation"], given["N"])

    def shape(self, plan: Plan, given: Kwargs) -> None:
        if given["relation"] == AT_LEAST:
            plan.num_letters = given["N"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        if given["relation"] == LESS_THAN:
            return [inject(text, "q" * max(given["N"], 1))]
        return ["".join(character for character in text if not character.isalpha()) + "1"]


@register
class LowercaseCounting(Constraint):
    """At most N words in lower case."""

    id = "count:lowercase_counting"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"N": kinds.count}

    def describe(self, given: Kwargs) -> str:
        return f"In your response, lowercase words should appear at most {given['N']} times."

    def sample(self, draw: Draw) -> Kwargs:
        return {"N": 6 - draw.count(1, 5)}

    def check(self, text: str, given: Kwargs) -> bool:
        return sum(word.islower() for word in words(text)) <= given["N"]

    def published(self, text: str, given: Kwargs) -> bool:
        return len(_PUBLISHED_LOWER.findall(text)) <= given["N"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.case = plan.case or "upper"

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [inject(text, " ".join([NOT_EVEN_A_WORD] * (given["N"] + 1)))]


@register
class CountUnique(Constraint):
    """No word twice."""

    id = "count:count_unique"
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return "Only use unique words in your response, no word may be repeated."

    def check(self, text: str, given: Kwargs) -> bool:
        found = [word.casefold() for word in words(text)]
        return len(found) == len(set(found))

    def published(self, text: str, given: Kwargs) -> bool:
        found = treebank_words(text)
        return len(found) == len(set(found))

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [inject(text, words(text)[-1])]


@register
class CountingComposition(Constraint):
    """Three paragraphs between `***`, each of so many sentences, each of so many words.

    As published, the tokenizer counts the closing punctuation of a sentence as a word.
    """

    id = "count:counting_composition"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"n_sent": kinds.positive, "n_words": kinds.positive}
    solo = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return (
            f"Write 3 paragraphs, separated by the markdown divider: ***, with exactly {given['n_sent']} sentences "
            f"each, with exactly {given['n_words']} words in each sentence."
        )

    def sample(self, draw: Draw) -> Kwargs:
        return {"n_sent": draw.count(1, 4), "n_words": draw.count(3, 7)}

    def check(self, text: str, given: Kwargs) -> bool:
        parts = divided(text)
        return len(parts) == 3 and all(_composed(part, given, words, sentences) for part in parts)

    def published(self, text: str, given: Kwargs) -> bool:
        parts = _PUBLISHED_DIVIDER.split(text)
        return len(parts) == 3 and all(_composed(part, given, treebank_words, ruled_sentences) for part in parts)

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        lengths = [given["n_words"]] * (3 * given["n_sent"])
        pool = iter([*keywords, *draw.rng.choices(FILLER, k=sum(lengths))])
        made = [" ".join(next(pool) for _ in range(length)) + "." for length in lengths]
        paragraphs = [made[start : start + given["n_sent"]] for start in range(0, len(made), given["n_sent"])]
        return "\n***\n".join(" ".join(paragraph) for paragraph in paragraphs)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [inject(text, NOT_EVEN_A_WORD)]


def _composed(part: str, given: Kwargs, cut: Cut, split: Cut) -> bool:
    found = split(part)
    return len(found) == given["n_sent"] and all(len(cut(sentence)) == given["n_words"] for sentence in found)
