"""`words:*` and `sentence:keyword` about where words stand: at the edges of reply, sentence, paragraph, or inside."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from string import punctuation
from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.benchmark.bare import bare, without_punctuation
from environments.instruction_following.verifiers.punkt import punkt_sentences
from environments.instruction_following.verifiers.text import count_phrase, has_word, inject, sentences, swap, words
from environments.instruction_following.verifiers.treebank import treebank_words
from environments.instruction_following.verifiers.verbs import is_verb
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

_OPENERS = ("Consider", "Describe", "Explore", "Imagine", "Remember", "Consult", "Collect", "Prepare")


@register
class StartVerb(Constraint):
    """The first word is a verb, by our own list: published verdicts come from a tagger that is not shipped here."""

    id = "words:start_verb"
    benchmark = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return "The response must start with a verb."

    def check(self, text: str, given: Kwargs) -> bool:
        return is_verb(words(text)[0])

    def published(self, text: str, given: Kwargs) -> bool:
        return any(is_verb(token) for token in treebank_words(text[:1000])[:1])

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.first = plan.rng.choice(_OPENERS)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"The {text}"]


@register
class Repeats(Constraint):
    """No word more than so many times."""

    id = "words:repeats"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"small_n": kinds.positive}
    benchmark = True

    def describe(self, given: Kwargs) -> str:
        return f"No word may appear more than {given['small_n']} times in the response."

    def sample(self, draw: Draw) -> Kwargs:
        return {"small_n": 6 - draw.count(1, 5)}

    def check(self, text: str, given: Kwargs) -> bool:
        return max(Counter(map(str.casefold, words(text))).values()) <= given["small_n"]

    def published(self, text: str, given: Kwargs) -> bool:
        counts = Counter(without_punctuation(text.lower()).split())
        return max(counts.values(), default=0) <= given["small_n"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [inject(text, " ".join([NOT_EVEN_A_WORD] * (given["small_n"] + 1)))]


@register
class SentenceKeyword(Constraint):
    """A keyword, as a word, in the N-th sentence."""

    id = "sentence:keyword"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"word": kinds.word, "N": kinds.positive}
    benchmark = True
    anchored = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return f'Sentence number {given["N"]} of your response must include the keyword "{given["word"]}".'

    def sample(self, draw: Draw) -> Kwargs:
        return {"word": draw.word(), "N": draw.count(1, 6)}

    def check(self, text: str, given: Kwargs) -> bool:
        found = sentences(text)
        return len(found) >= given["N"] and count_phrase(found[given["N"] - 1], given["word"]) > 0

    def published(self, text: str, given: Kwargs) -> bool:
        found = punkt_sentences(text)
        if len(found) < given["N"]:
            return False
        keyword = re.compile(rf"\b{re.escape(given['word'])}\b", re.IGNORECASE)  # plain text, so nothing to backtrack
        return keyword.search(found[given["N"] - 1]) is not None

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.placed = (given["N"], 2, given["word"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [swap(text, given["word"], NOT_EVEN_A_WORD)]


@register
class SpecificPosition(Constraint):
    """A keyword as the m-th word of the n-th sentence, in either case; punctuation is no word."""

    id = "words:keywords_specific_position"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"keyword": kinds.word, "n": kinds.positive, "m": kinds.positive}
    benchmark = True
    anchored = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return f"In sentence {given['n']}, word number {given['m']} must be the keyword {given['keyword']}."

    def sample(self, draw: Draw) -> Kwargs:
        return {"keyword": draw.word(), "n": draw.count(1, 5), "m": draw.count(2, 10)}

    def check(self, text: str, given: Kwargs) -> bool:
        return _stands(sentences(text), given, words)

    def published(self, text: str, given: Kwargs) -> bool:
        return _stands(punkt_sentences(text), given, _tokens_with_letters)

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.placed = (given["n"], given["m"], given["keyword"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [swap(text, given["keyword"], NOT_EVEN_A_WORD)]


def _stands(found: list[str], given: Kwargs, cut: Callable[[str], list[str]]) -> bool:
    if len(found) < given["n"]:
        return False
    return [token.lower() for token in cut(found[given["n"] - 1])][given["m"] - 1 : given["m"]] == [
        given["keyword"].lower()
    ]


def _tokens_with_letters(text: str) -> list[str]:
    return [token for token in treebank_words(text) if any(map(str.isalnum, token))]


@register
class WordsPosition(Constraint):
    """The second word and the last but one are a keyword; as published, one closing mark is no word, others are."""

    id = "words:words_position"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"keyword": kinds.word}
    benchmark = True
    anchored = True
    solo = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return f"The second word and the second to last word of your response should be the word {given['keyword']}."

    def sample(self, draw: Draw) -> Kwargs:
        return {"keyword": draw.word()}

    def check(self, text: str, given: Kwargs) -> bool:
        found, keyword = [word.casefold() for word in words(text)], given["keyword"].casefold()
        return len(found) > 2 and found[1] == found[-2] == keyword

    def published(self, text: str, given: Kwargs) -> bool:
        found, keyword = [token.lower() for token in treebank_words(text)], given["keyword"].lower()
        if len(found) < 2:
            return False
        last = -3 if found[-1] in punctuation else -2
        return len(found) >= -last and found[1] == found[last] == keyword

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        a, b, c = draw.rng.sample(FILLER, 3)
        return " ".join([a, given["keyword"], *keywords, b, given["keyword"], c]) + "."

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{NOT_EVEN_A_WORD} {text}"]


@register
class LastFirst(Constraint):
    """The last word of each sentence opens the next; two sentences or more."""

    id = "words:last_first"
    benchmark = True
    solo = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return "Write several sentences; the last word of each must become the first word of the next."

    def check(self, text: str, given: Kwargs) -> bool:
        found = [[word.casefold() for word in words(sentence)] for sentence in sentences(text)]
        return len(found) > 1 and all(a[-1] == b[0] for a, b in pairwise(found))

    def published(self, text: str, given: Kwargs) -> bool:
        for before, after in pairwise(punkt_sentences(text)):
            last, first = before.rstrip(punctuation + " ").split(), after.lstrip(punctuation + " ").split()
            if not last or not first or last[-1].lower() != first[0].lower():
                return False
        return True

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        links = [*keywords, *draw.rng.sample(FILLER, 3)]
        inner = iter(draw.rng.sample(FILLER, 2 * len(links)))
        return " ".join(f"{a} {next(inner)} {next(inner)} {b}." for a, b in pairwise(links))

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD} {NOT_EVEN_A_WORD}."]


@register
class ParagraphLastFirst(Constraint):
    """Each paragraph, a line of two words or more, ends with the word that it started with."""

    id = "words:paragraph_last_first"
    benchmark = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return "Each paragraph must end with the same word it started with; separate paragraphs with a newline."

    def check(self, text: str, given: Kwargs) -> bool:
        found = [[word.casefold() for word in words(line)] for line in text.split("\n") if has_word(line)]
        return all(len(line) > 1 and line[0] == line[-1] for line in found)

    def published(self, text: str, given: Kwargs) -> bool:
        lines = [bare(line.strip().lower()).split() for line in text.split("\n")]
        return all(line[0] == line[-1] for line in lines if line)

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        ends = [*keywords, *draw.rng.sample(FILLER, 2)][: max(2, len(keywords))]
        return "\n".join(f"{end} {' '.join(draw.rng.sample(FILLER, 3))} {end}." for end in ends)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}"]
