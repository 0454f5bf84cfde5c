"""`count:*` of words: how many, how many different ones, and how many of a kind."""

from __future__ import annotations

import re
from typing import ClassVar

from environments.instruction_following.verifiers import kinds
from environments.instruction_following.verifiers.base import Constraint, Draw, Kwargs, register
from environments.instruction_following.verifiers.benchmark.bare import bare
from environments.instruction_following.verifiers.text import count_phrase, inject, swap, words
from environments.instruction_following.verifiers.treebank import treebank_words
from environments.instruction_following.verifiers.vocabulary import CONJUNCTIONS, NAMES, PRONOUNS
from environments.instruction_following.witness import Plan
from environments.instruction_following.words import NOT_EVEN_A_WORD

_PUBLISHED_WORD = re.compile(r"\w+")
_TIMES = {"keyword1": 1, "keyword2": 2, "keyword3": 3, "keyword4": 5, "keyword5": 7}


@register
class WordRange(Constraint):
    """Between so many and so many words, both included."""

    id = "count:word_count_range"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"min_words": kinds.count, "max_words": kinds.positive}
    benchmark = True

    def describe(self, given: Kwargs) -> str:
        return f"The response must contain between {given['min_words']} and {given['max_words']} words."

    def sample(self, draw: Draw) -> Kwargs:
        low = draw.rng.randint(30, 70)
        return {"min_words": low, "max_words": low + 25 - draw.count(5, 20)}

    def settle(self, given: Kwargs, prompt: str) -> Kwargs:
        if given["min_words"] > given["max_words"]:
            raise ValueError("`min_words` is more than `max_words`")
        return given

    def check(self, text: str, given: Kwargs) -> bool:
        return given["min_words"] <= len(words(text)) <= given["max_words"]

    def published(self, text: str, given: Kwargs) -> bool:
        return given["min_words"] <= len(_PUBLISHED_WORD.findall(text)) <= given["max_words"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.num_words = max(plan.num_words, given["min_words"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [f"{text} " + " ".join([NOT_EVEN_A_WORD] * (given["max_words"] + 1)), words(text)[0]]


@register
class UniqueWords(Constraint):
    """At least so many different words; as published, a lone mark counts as one more."""

    id = "count:unique_word_count"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"N": kinds.positive}
    benchmark = True

    def describe(self, given: Kwargs) -> str:
        return f"Use at least {given['N']} unique words in the response."

    def sample(self, draw: Draw) -> Kwargs:
        return {"N": draw.count(15, 60)}

    def check(self, text: str, given: Kwargs) -> bool:
        return len({word.casefold() for word in words(text)}) >= given["N"]

    def published(self, text: str, given: Kwargs) -> bool:
        return len({bare(word) for word in text.lower().split()}) >= given["N"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.num_words, plan.distinct = max(plan.num_words, given["N"] + 5), True

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [" ".join(words(text)[:1])]


@register
class Conjunctions(Constraint):
    """At least so many different coordinating conjunctions; as published, `And` and `and` are two."""

    id = "count:conjunctions"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"small_n": kinds.at_most(len(CONJUNCTIONS))}
    benchmark = True

    def describe(self, given: Kwargs) -> str:
        return f"Use at least {given['small_n']} different coordinating conjunctions in the response."

    def sample(self, draw: Draw) -> Kwargs:
        return {"small_n": draw.count(2, 6)}

    def check(self, text: str, given: Kwargs) -> bool:
        return len({word.casefold() for word in words(text)}.intersection(CONJUNCTIONS)) >= given["small_n"]

    def published(self, text: str, given: Kwargs) -> bool:
        return len({word for word in text.split() if bare(word).lower() in CONJUNCTIONS}) >= given["small_n"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.include += plan.rng.sample(CONJUNCTIONS, given["small_n"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        for word in CONJUNCTIONS:
            text = swap(text, word, NOT_EVEN_A_WORD)
        return [text]


@register
class PersonNames(Constraint):
    """At least so many different names of the list, as whole words, with their capital."""

    id = "count:person_names"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"N": kinds.at_most(len(NAMES))}
    benchmark = True

    def describe(self, given: Kwargs) -> str:
        return f"Mention at least {given['N']} different person names from this list: {', '.join(NAMES)}."

    def sample(self, draw: Draw) -> Kwargs:
        return {"N": draw.count(1, 12)}

    def check(self, text: str, given: Kwargs) -> bool:
        return len(set(_PUBLISHED_WORD.findall(text)).intersection(NAMES)) >= given["N"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        plan.include += plan.rng.sample(NAMES, given["N"])

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        for name in NAMES:
            text = swap(text, name, NOT_EVEN_A_WORD)
        return [text]


@register
class Pronouns(Constraint):
    """At least so many pronouns, `it's` and `she/her` included."""

    id = "count:pronouns"
    arguments: ClassVar[dict[str, kinds.Kind]] = {"N": kinds.positive}
    benchmark = True
    approximate = True

    def describe(self, given: Kwargs) -> str:
        return f"The response should include at least {given['N']} pronouns."

    def sample(self, draw: Draw) -> Kwargs:
        return {"N": draw.count(2, 16)}

    def check(self, text: str, given: Kwargs) -> bool:
        found = (word.casefold().replace("’", "'").partition("'")[0] for word in words(text))
        return sum(word in PRONOUNS for word in found) >= given["N"]

    def published(self, text: str, given: Kwargs) -> bool:
        return sum(word in PRONOUNS for word in treebank_words(text.replace("/", " ").lower())) >= given["N"]

    def shape(self, plan: Plan, given: Kwargs) -> None:
        pool = sorted(PRONOUNS)
        plan.include += [*plan.rng.sample(pool, min(given["N"], len(pool))), *plan.rng.choices(pool, k=given["N"])][
            : given["N"]
        ]

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        for word in PRONOUNS:
            text = swap(text, word, NOT_EVEN_A_WORD)
        return [text]


@register
class KeywordsMultiple(Constraint):
    """Five keywords, exactly once, twice, three, five and seven times, as words; as published, inside words too."""

    id = "count:keywords_multiple"
    arguments: ClassVar[dict[str, kinds.Kind]] = dict.fromkeys(_TIMES, kinds.word)
    benchmark = True
    anchored = True

    def describe(self, given: Kwargs) -> str:
        wishes = [f"keyword {given[key]} {_said(times)}" for key, times in _TIMES.items()]
        return f"In your response, include {', '.join(wishes[:-1])}, and {wishes[-1]}."

    def sample(self, draw: Draw) -> Kwargs:
        return {key: draw.word() for key in _TIMES}

    def check(self, text: str, given: Kwargs) -> bool:
        return all(count_phrase(text, given[key]) == times for key, times in _TIMES.items())

    def published(self, text: str, given: Kwargs) -> bool:
        lowered = text.lower()
        return all(lowered.count(given[key].lower()) == times for key, times in _TIMES.items())

    def shape(self, plan: Plan, given: Kwargs) -> None:
        for key, times in _TIMES.items():
            plan.include += [given[key]] * times

    def spoil(self, text: str, given: Kwargs) -> list[str]:
        return [inject(text, given["keyword1"]), swap(text, given["keyword5"], NOT_EVEN_A_WORD)]


def _said(times: int) -> str:
    return {1: "once", 2: "twice"}.get(times, f"{times} times")
