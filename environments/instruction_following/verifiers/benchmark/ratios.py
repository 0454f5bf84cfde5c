"""`ratio:*`: shares of stop words, of kinds of sentences, of trigrams, and sentences of one length."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.punkt import punkt_sentences
from environments.instruction_following.verifiers.text import inject, sentences, words
from environments.instruction_following.verifiers.vocabulary import STOP_WORDS
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

_PUBLISHED_WORD = re.compile(r"\w+")
_CLOSERS = "\"')]}*_»”’ "
PLAIN = tuple(word for word in FILLER if word not in STOP_WORDS)


@register
class StopWords(Constraint):
    """Stop words are no more than so many in a hundred; what an apostrophe cuts apart counts as two, as published."""

    id = "ratio:stop_words"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"percentage": kinds.percentage}
    benchmark = True

    def describe(self, given: Kwargs) -> str:
        return f"Stop words may make up no more than {given['percentage']}% of the words in your response."

    def sample(self, draw: Draw) -> Kwargs:
        return {"percentage": 45 - draw.count(5, 40)}

    def check(self, text: str, given: Kwargs) -> bool:
        found = _PUBLISHED_WORD.findall(text.lower())
        return bool(found) and 100 * sum(word in STOP_WORDS for word in found) / len(found) <= given["percentage"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.avoid.update(STOP_WORDS)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [inject(text, "the " * len(words(text)) * 9 + "the")]


def _marks(found: list[str], closers: str = _CLOSERS) -> tuple[int, int, int]:
    """How many sentences end with a full stop, a question mark, an exclamation mark."""
    ends = [sentence.rstrip(closers)[-1:] for sentence in found]
    return ends.count("."), ends.count("?"), ends.count("!")


class _SentenceTypes(Constraint):
    benchmark = True
    solo = True
    approximate = True
    pattern = ""

    def holds(self, statements: int, questions: int, exclamations: int) -> bool:
        raise NotImplementedError

    def check(self, text: str, given: Kwargs) -> bool:
        counts = _marks(sentences(text))
        return counts[1] > 0 and self.holds(*counts)

    def published(self, text: str, given: Kwargs) -> bool:
        return self.holds(*_marks(punkt_sentences(text), closers=""))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        pattern = self.pattern * draw.rng.randint(1, 2)
        pool = iter([*keywords, *draw.rng.sample(FILLER, 3 * len(pattern))])
        return " ".join(f"{next(pool)} {next(pool)} {next(pool)}{mark}" for mark in pattern)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}?"]


@register
class SentenceType(_SentenceTypes):
    """Twice as many statements as questions, of which there is at least one; as published, none of either will do."""

    id = "ratio:sentence_type"
    pattern = "..?"

    def describe(self, given: Kwargs) -> str:
        return "Maintain a 2:1 ratio of declarative to interrogative sentences."

    def holds(self, statements: int, questions: int, exclamations: int) -> bool:
        return statements == 2 * questions


@register
class SentenceBalance(_SentenceTypes):
    """As many statements as questions as exclamations, at least one of each."""

    id = "ratio:sentence_balance"
    pattern = ".?!"

    def describe(self, given: Kwargs) -> str:
        return "Balance the sentence types: as many declarative as interrogative as exclamatory sentences."

    def holds(self, statements: int, questions: int, exclamations: int) -> bool:
        return statements == questions == exclamations


@register
class Overlap(Constraint):
    """So many in a hundred of the reply's word trigrams, two more or less, are the reference's; published: characters.

    Both readings are met by a witness that copies the beginning of the reference and goes on in words of its own,
    as long as it finds words of the right lengths.
    """

    id = "ratio:overlap"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"reference_text": kinds.text, "percentage": kinds.percentage}
    benchmark = True
    anchored = True
    solo = True

    def describe(self, given: Kwargs) -> str:
        return (
            f"Maintain a trigram overlap of {given['percentage']}% (±2%), counted in words, with this reference text: "
            f"{given['reference_text']}"
        )

    def sample(self, draw: Draw) -> Kwargs:
        reference = " ".join([draw.word(), *draw.rng.sample(FILLER, 30), draw.word()])
        return {"reference_text": reference, "percentage": draw.rng.randint(20, 80)}

    def settle(self, given: Kwargs, prompt: str) -> Kwargs:
        if len(words(given["reference_text"])) < 3:
            raise ValueError("`reference_text` has no trigram")
        return given

    def check(self, text: str, given: Kwargs) -> bool:
        return abs(100 * _shared(_folded(text), _folded(given["reference_text"])) - given["percentage"]) <= 2

    def published(self, text: str, given: Kwargs) -> bool:
        low, high = given["percentage"] - 2, given["percentage"] + 2
        return len(text) > 2 and low <= 100 * _shared(text, given["reference_text"]) <= high

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        reference, goal = given["reference_text"].split(), given["percentage"] / 100
        others = [word for word in FILLER if word not in reference]
        text = given["reference_text"]
        for _ in range(400):
            copied = draw.rng.randint(3, len(reference))
            num_others = round((copied - 2) * (1 - goal) / goal) if goal else copied
            length, loud = draw.rng.uniform(3.5, 6.5), draw.rng.random()  # capitals share no characters by chance
            pool = sorted(others, key=lambda word: abs(len(word) - length) + draw.rng.random() * 2)[:num_others]
            pool = [word.upper() if draw.rng.random() < loud else word for word in pool]
            text = " ".join([*reference[:copied], *pool])
            if self.check(text, given) and self.published(text, given):
                return text
        return text

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [NOT_EVEN_A_WORD * 2, given["reference_text"]]


def _folded(text: str) -> list[str]:
    return [word.casefold() for word in words(text)]


def _shared(pieces: Sequence[str], reference: Sequence[str]) -> float:
    """Share of the different trigrams of the first that the second has too."""
    found, wanted = ({tuple(all_of[at : at + 3]) for at in range(len(all_of) - 2)} for all_of in (pieces, reference))
    return len(found & wanted) / len(found) if found else 0.0


@register
class SentenceWords(Constraint):
    """Three sentences of as many characters, no word twice; as published, words may come back."""

    id = "ratio:sentence_words"
    benchmark = True
    solo = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return "Respond with three sentences, all with the same number of characters but using all different words."

    def check(self, text: str, given: Kwargs) -> bool:
        found, used = sentences(text), [word.casefold() for word in words(text)]
        same = len(found) == 3 and all(len(a) == len(b) for a, b in pairwise(found))
        return same and len(used) == len(set(used))

    def published(self, text: str, given: Kwargs) -> bool:
        found = punkt_sentences(text)
        return len(found) == 3 and len({len(sentence.strip()) for sentence in found}) == 1

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        pool = draw.rng.sample(FILLER, len(FILLER))
        lines = [" ".join([*keywords[number::3], pool.pop(), pool.pop()]) for number in range(3)]
        longest = max(map(len, lines)) + 4
        padded = []
        for line in lines:
            while len(line) < longest - 8:
                line += " " + pool.pop()
            last = next((word for word in pool if len(word) == longest - len(line) - 1), None)
            if last is None:
                last = pool[0]
            pool.remove(last)
            padded.append(f"{line} {last}.")
        return " ".join(padded)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text[:-1]} {NOT_EVEN_A_WORD}."]
