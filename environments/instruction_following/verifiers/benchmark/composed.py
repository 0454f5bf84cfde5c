"""`custom:mcq_count_length` and `custom:sentence_alphabet`: replies built to a plan of several parts."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import ClassVar

from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.benchmark.letters import plain
from environments.instruction_following.verifiers.punkt import punkt_sentences
from environments.instruction_following.verifiers.text import has_word, sentences, words
from environments.instruction_following.verifiers.vocabulary import FIRST_TO_LAST
from environments.instruction_following.words import FILLER, NOT_EVEN_A_WORD

_LABEL = re.compile(r"[\s#*]*+Question\b[ \t]*+[0-9]*+[^\w\n]*+")
_OPTION = re.compile(r"\s*+\(?([A-Ea-e])[.)]\s*+(.*)")
_PUBLISHED_LABEL = re.compile(r"Question \d+[.|):;]?\s*")
_PUBLISHED_OPTION = re.compile(r"[A-Ea-e][.|)]\s*\w+")
NUM_QUESTIONS = 4


@register
class MultipleChoice(Constraint):
    """Four questions, each longer than the one before, labelled, with options A to E in order and nothing else."""

    id = "custom:mcq_count_length"
    benchmark: ClassVar[bool] = True
    solo: ClassVar[bool] = True

    def describe(self, given: Kwargs) -> str:
        return (
            'Generate 4 multiple choice questions with 5 options each about "20th century art history". Each question '
            'should start with the label "Question". The questions should get progressively longer. Do not provide an '
            "explanation."
        )

    def check(self, text: str, given: Kwargs) -> bool:
        asked: list[str] = []
        letters: list[str] = []
        for line in filter(has_word, text.split("\n")):
            option, label = _OPTION.match(line), _LABEL.match(line)
            if label:
                asked.append(line[label.end() :].strip())
                letters.append("")
            elif not asked or (not option and letters[-1]):
                return False
            elif option:
                letters[-1] += option[1].upper() if has_word(option[2]) else "?"
            else:
                asked[-1] = f"{asked[-1]} {line.strip()}".strip()
        lengths = [len(question) for question in asked]
        full = len(asked) == NUM_QUESTIONS and letters == ["ABCDE"] * NUM_QUESTIONS and all(map(has_word, asked))
        return full and all(a < b for a, b in pairwise(lengths))

    def published(self, text: str, given: Kwargs) -> bool:
        if not text.startswith("Question"):
            return False
        asked = [part.strip() for part in _PUBLISHED_LABEL.split(text) if part.strip()]
        read = [_published_question(part) for part in asked]
        full = len(read) == NUM_QUESTIONS and all(num_options == 5 for num_options, _ in read)
        return full and all(a < b for (_, a), (_, b) in pairwise(read))

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        made = []
        for number in range(1, NUM_QUESTIONS + 1):
            asked = " ".join(draw.rng.choices(FILLER, k=2)) + " movement" * number
            options = "\n".join(f"{letter}) {draw.rng.choice(FILLER)}" for letter in "ABCDE")
            made.append(f"Question {number}: {asked}?\n{options}")
        return "\n\n".join(made)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [text.rpartition("\n")[0], f"{NOT_EVEN_A_WORD} {text}"]


def _published_question(part: str) -> tuple[int, int]:
    """How many options, and how long the text before them is."""
    num_options, asked = 0, ""
    for line in part.split("\n"):
        if _PUBLISHED_OPTION.match(line.strip()):
            num_options += 1
        elif not num_options:
            asked += " " + line.strip()
    return num_options, len(asked.strip())


@register
class SentenceAlphabet(Constraint):
    """Twenty-six sentences of two words or more, from A to Z; quotation marks before a letter do not matter."""

    id = "custom:sentence_alphabet"
    benchmark: ClassVar[bool] = True
    solo: ClassVar[bool] = True
    approximate: ClassVar[bool] = True

    def describe(self, given: Kwargs) -> str:
        return (
            "Tell me a 26-sentence story where each sentence's first word starts with the letters of the alphabet in "
            "order."
        )

    def check(self, text: str, given: Kwargs) -> bool:
        found = [words(sentence) for sentence in sentences(text)]
        initials = "".join(plain(sentence[0])[:1] for sentence in found)
        return initials == "abcdefghijklmnopqrstuvwxyz" and min(map(len, found)) > 1

    def published(self, text: str, given: Kwargs) -> bool:
        initials = [sentence.split()[0].lower()[0] for sentence in punkt_sentences(text) if sentence.split()]
        return "".join(initials) == "abcdefghijklmnopqrstuvwxyz"

    def write(self, draw: Draw, given: Kwargs, keywords: list[str]) -> str:
        return " ".join(f"{word.title()} {' '.join(draw.rng.sample(FILLER, 2))}." for word in FIRST_TO_LAST)

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{NOT_EVEN_A_WORD} {text}"]
