"""`first_word:*`, `last_word:*` and `startend:*`: how a reply or its sentences begin and end."""

from __future__ import annotations

import re
from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.ruled import ruled_sentences
from environments.instruction_following.verifiers.text import edge, has_word, sentences
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import NOT_EVEN_A_WORD

_PUNCTUATION = re.compile(r"[^\w\s]")


def _edges(text: str, number: int) -> str:
    """The first `number` words of a text (the last ones where it is negative), without the punctuation around them."""
    found = [word for word in map(edge, text.split()) if word]
    return " ".join(found[:number] if number > 0 else found[number:])


def _first_is(text: str, word: str) -> bool:
    return _edges(text, len(word.split())) == _edges(word, len(word.split()))


def _last_is(text: str, word: str) -> bool:
    return _edges(text, -len(word.split())) == _edges(word, -len(word.split()))


def _bare(token: str) -> str:
    return _PUNCTUATION.sub("", token).lower()


@register
class FirstWord(Constraint):
    """The reply begins with a word; quotes and brackets before it do not matter, as published they do."""

    id = "first_word:first_word_answer"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"first_word": kinds.word}
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return f"The first word of your response should be the word {given['first_word']}."

    def sample(self, draw: Draw) -> Kwargs:
        return {"first_word": draw.word()}

    def check(self, text: str, given: Kwargs) -> bool:
        return _first_is(text, given["first_word"])

    def published(self, text: str, given: Kwargs) -> bool:
        return text.split()[:1] != [] and text.split()[0].lower() == given["first_word"].lower()

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.first = given["first_word"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{NOT_EVEN_A_WORD} {text}"]


@register
class FirstWordSentences(Constraint):
    """Every sentence begins with a word."""

    id = "first_word:first_word_sent"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"first_word": kinds.word}
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return f"The first word of each sentence should be the word {given['first_word']}."

    def sample(self, draw: Draw) -> Kwargs:
        return {"first_word": draw.word()}

    def check(self, text: str, given: Kwargs) -> bool:
        found = sentences(text)
        return bool(found) and all(_first_is(sentence, given["first_word"]) for sentence in found)

    def published(self, text: str, given: Kwargs) -> bool:
        firsts = [sentence.split()[:1] for sentence in ruled_sentences(text)]
        return all(first and first[0].lower() == given["first_word"].lower() for first in firsts)

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.sentence_first = given["first_word"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{NOT_EVEN_A_WORD} {text}"]


@register
class LastWord(Constraint):
    """The reply ends with a word; punctuation behind it does not matter."""

    id = "last_word:last_word_answer"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"last_word": kinds.word}
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return f"The last word of your response should be the word {given['last_word']}."

    def sample(self, draw: Draw) -> Kwargs:
        return {"last_word": draw.word()}

    def check(self, text: str, given: Kwargs) -> bool:
        return _last_is(text, given["last_word"])

    def published(self, text: str, given: Kwargs) -> bool:
        return text.split()[-1:] != [] and _bare(text.split()[-1]) == given["last_word"].lower()

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.last = given["last_word"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}"]


@register
class LastWordSentences(Constraint):
    """Every sentence ends with a word, before its punctuation."""

    id = "last_word:last_word_sent"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"last_word": kinds.word}
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return f"The last word of each sentence, before punctuation, should be the word {given['last_word']}."

    def sample(self, draw: Draw) -> Kwargs:
        return {"last_word": draw.word()}

    def check(self, text: str, given: Kwargs) -> bool:
        found = sentences(text)
        return bool(found) and all(_last_is(sentence, given["last_word"]) for sentence in found)

    def published(self, text: str, given: Kwargs) -> bool:
        lasts = [sentence.split()[-1:] for sentence in ruled_sentences(text)]
        return all(last and _bare(last[0]) == given["last_word"].lower() for last in lasts)

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.sentence_last = given["last_word"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}"]


@register
class EndPhrase(Constraint):
    """The reply ends with a phrase that begins as a word of its own; case does not matter."""

    id = "startend:end_checker"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"end_phrase": kinds.word}
    anchored = True

    def describe(self, given: Kwargs) -> str:
        return f"Finish your response with this exact phrase: {given['end_phrase']} Nothing may follow it."

    def sample(self, draw: Draw) -> Kwargs:
        return {"end_phrase": f"{draw.word().capitalize()} and {draw.word()}!"}

    def check(self, text: str, given: Kwargs) -> bool:
        phrase = " ".join(given["end_phrase"].casefold().split())
        body = " ".join(text.casefold().split())
        if body.startswith('"') and body.endswith('"') and len(body) > 1:
            body = body[1:-1].rstrip()
        if not body.endswith(phrase):
            return False
        before = body[len(body) - len(phrase) - 1 : len(body) - len(phrase)]
        return not (before.isalnum() and phrase[0].isalnum())

    def published(self, text: str, given: Kwargs) -> bool:
        return text.strip().strip('"').lower().endswith(given["end_phrase"].strip().lower())

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.end_phrase = given["end_phrase"]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} {NOT_EVEN_A_WORD}"]


@register
class Quotation(Constraint):
    """The whole reply in double quotation marks, with something between them."""

    id = "startend:quotation"

    def describe(self, given: Kwargs) -> str:
        return "Wrap your entire response with double quotation marks."

    def check(self, text: str, given: Kwargs) -> bool:
        return self.published(text, given) and has_word(text)

    def published(self, text: str, given: Kwargs) -> bool:
        body = text.strip()
        return len(body) > 1 and body[0] == '"' and body[-1] == '"'

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.quoted = True

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        body = text.strip()
        return [body[1:], body[1:-1]]
